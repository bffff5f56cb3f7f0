"""The way of a drop: one file a stage, one public function each. Steps do not know each other."""
