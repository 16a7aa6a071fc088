//! Linux cooked captures, versions 1 and 2: what stands for a link header in them.
