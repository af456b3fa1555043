"""The tree against the standard's example, published roots, and pymerkle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from specimg.audit import merkle
from specimg.audit.verify import tree as verifier

# The leaves and roots that certificate transparency implementations have shared since RFC 6962
# (google/certificate-transparency, merkle tree tests).
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
)]  # fmt: skip
ROOTS = [bytes.fromhex(text) for text in (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)]  # fmt: skip


class Tree:
    """A tree kept in memory: what the table ``node`` is to the log."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.edge = merkle.Edge(0, [])
        self.roots = [self.edge.root()]
        for leaf in leaves:
            for node in self.edge.append(merkle.leaf_hash(leaf)):
                assert (node.level, node.index) not in self.nodes  # nodes are written once
                self.nodes[node.level, node.index] = node.hash
            self.roots.append(self.edge.root())

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_roots_are_the_published_ones() -> None:
    assert Tree(LEAVES).roots == ROOTS


@pytest.mark.parametrize("size", range(38))
def test_roots_are_pymerkles(size: int) -> None:
    peer = InmemoryTree()
    peer.append_entries(numbered(size))
    assert Tree(numbered(size)).roots[-1] == peer.get_root()


def test_proofs_of_the_example_in_the_standard() -> None:
    """RFC 6962 §2.1.3: seven leaves, nodes named as in its picture."""
    hashes = [merkle.leaf_hash(leaf) for leaf in numbered(7)]
    a, b, c, d, e, f, j = hashes
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)
    tree = Tree(numbered(7))
    assert merkle.inclusion(0, 7, tree.node) == [b, h, l]
    assert merkle.inclusion(3, 7, tree.node) == [c, g, l]
    assert merkle.inclusion(4, 7, tree.node) == [f, j, k]
    assert merkle.inclusion(6, 7, tree.node) == [i, k]
    assert merkle.consistency(3, 7, tree.node) == [c, d, g, l]
    assert merkle.consistency(4, 7, tree.node) == [l]
    assert merkle.consistency(6, 7, tree.node) == [i, j, k]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_proofs_lead_to_pymerkles_roots(size: int) -> None:
    """Its inclusion paths list the leaf itself too; its consistency paths are cut otherwise, so only roots compare."""
    peer, tree = InmemoryTree(), Tree(numbered(size))
    peer.append_entries(numbered(size))
    for index in range(size):
        theirs = [bytes.fromhex(text) for text in peer.prove_inclusion(index + 1).serialize()["path"]]
        ours = [*merkle.inclusion(index, size, tree.node), merkle.leaf_hash(b"%d" % index)]
        assert sorted(ours) == sorted(theirs)
    for old in range(1, size + 1):
        ours = merkle.consistency(old, size, tree.node)
        assert merkle.verify_consistency(old, size, ours, peer.get_root(old), peer.get_root(size))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.data())
def test_every_proof_verifies_and_no_other_does(size: int, data: st.DataObject) -> None:
    tree = Tree(numbered(size))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    path = merkle.inclusion(index, size, tree.node)
    leaf = merkle.leaf_hash(b"%d" % index)
    assert merkle.verify_inclusion(leaf, index, size, path, tree.roots[size])
    assert verifier.root_from_path(leaf, index, size, path) == tree.roots[size]
    proof = merkle.consistency(old, size, tree.node)
    assert merkle.verify_consistency(old, size, proof, tree.roots[old], tree.roots[size])
    for wrong in _wrong(path, data):
        assert not merkle.verify_inclusion(leaf, index, size, wrong, tree.roots[size])
        assert verifier.root_from_path(leaf, index, size, wrong) != tree.roots[size]
    for wrong in _wrong(proof, data):
        assert not merkle.verify_consistency(old, size, wrong, tree.roots[old], tree.roots[size])
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index)) if size > 1 else None
    if other is not None:
        assert not merkle.verify_inclusion(leaf, other, size, path, tree.roots[size])
        assert verifier.root_from_path(leaf, other, size, path) != tree.roots[size]


def _wrong(path: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    wrong = [[*path, hashlib.sha256(b"more").digest()]]
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        wrong.append(path[:-1])
        wrong.append([*path[:at], bytes([path[at][0] ^ 1]) + path[at][1:], *path[at + 1 :]])
    return wrong


def test_an_edge_read_back_grows_into_the_same_tree() -> None:
    tree = Tree(numbered(50))
    for size in range(50):
        edge = merkle.Edge.read(size, tree.node)
        assert edge.root() == tree.roots[size]
        for leaf in numbered(50)[size:]:
            list(edge.append(merkle.leaf_hash(leaf)))
        assert edge.root() == tree.roots[50]


@pytest.mark.parametrize(
    "ask",
    [
        lambda tree: merkle.inclusion(5, 5, tree.node),
        lambda tree: merkle.inclusion(-1, 5, tree.node),
        lambda tree: merkle.consistency(6, 5, tree.node),
        lambda tree: merkle.Edge(3, [b""]),
    ],
)
def test_what_there_is_no_proof_of(ask: Callable[[Tree], object]) -> None:
    with pytest.raises(ValueError, match=r"leaf|begin|subtrees"):
        ask(Tree(numbered(5)))
