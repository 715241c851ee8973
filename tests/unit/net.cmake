# boxd_unit_test(...) lines of this layer
