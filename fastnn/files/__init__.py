"""Files: arrays in the safetensors format (``arrays``), and networks as others read them.

``onnx`` (and ``onnx_reading``), ``torch``, ``keras`` and ``c`` know one format each. What a network does in inference
they ask of ``steps``, and what a formula does, of ``trace``, which reads it off the NumPy text: a class that is added
is exported by all of them, with nothing said twice. The optional packages are imported when a network is exported.
"""

from .arrays import (
    ArrayFile as ArrayFile,
    Kind as Kind,
    Path as Path,
    check_target as check_target,
    named as named,
    read_json as read_json,
    replaced as replaced,
    write_arrays as write_arrays,
)
