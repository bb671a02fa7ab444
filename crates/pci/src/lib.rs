//! PCI functions as sysfs shows them: physical and virtual functions, drivers, IOMMU groups.
