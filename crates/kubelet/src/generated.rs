//! What `hack/gen-protos/run` writes, one module per protocol file. Included, not declared as modules of their own, so
//! that they stay as the generator formats them.

pub mod deviceplugin_v1beta1 {
    include!("generated/deviceplugin_v1beta1.rs");
}
pub mod pluginregistration_v1 {
    include!("generated/pluginregistration_v1.rs");
}
pub mod podresources_v1 {
    include!("generated/podresources_v1.rs");
}
