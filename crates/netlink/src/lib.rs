//! Links, the attributes of virtual functions, and moves between network namespaces.
