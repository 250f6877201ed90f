"""Makes `oracles` importable from every test and keeps TensorFlow quiet."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_HERE = os.path.dirname(__file__)
sys.path[:0] = [_HERE, os.path.join(_HERE, "core"), os.path.join(_HERE, "data_pipeline")]
