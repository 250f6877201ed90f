"""All kinds of hostile inputs by name."""

from tests.fuzzing import annotation_kinds, picture_kinds, shard_kinds

KINDS = {
    kind.name: kind for kind in (*shard_kinds.KINDS, *picture_kinds.KINDS, *annotation_kinds.KINDS)
}
