# SPDX-License-Identifier: Apache-2.0
"""TransECG: a vision transformer over stretches of one lead (Wang et al. 2025).

A patch of samples becomes a token; a class token is put before them and read at the end. As described: patches of 20
samples at 250 Hz, 100 of them, width 256, six blocks of six heads, a hidden layer of 128, stochastic depth.

- 256 does not divide by six. The description follows a Keras layer whose heads are 256 // 6 = 42 wide each, 252 inside,
  led back to 256: so here, without biases (1,982,466 parameters with two outputs).
- The paper's equations normalise after each sum (`norm="post"`), the public code that its description follows before
  each branch and once at the end (`norm="pre"`, 512 parameters more).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ecglens.models.layers import Add, WeightedSum


class TransformerAttended(NamedTuple):
    """What the network says and where its tokens looked; rows of an attention sum to 1.

    logits      [batch, output]
    attentions  of each block, first to last: [batch, head, token, token]; token 0 is the class token
    """

    logits: Tensor
    attentions: tuple[Tensor, ...]


_WEIGHTS_AT_ONCE = 5_000_000  # of a batch in training: memory of more than 32 MB is asked of the system each time anew


class SelfAttention(nn.Module):
    """Scaled dot-product attention of several heads (Vaswani et al. 2017), `width // heads` wide each, no biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * (width // heads)
        self.query, self.key, self.value = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.softmax, self.weigh = nn.Softmax(dim=-1), WeightedSum()
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is read [batch, token, width] and the weights [batch, head, token, token]."""
        read, weights = self._read(*self._asked(tokens))
        return self.out(read.transpose(1, 2).flatten(2)), weights

    def read(self, tokens: Tensor) -> Tensor:
        """Return what is read alone, of a few signals at a time: up to rounding the same, sooner for many tokens."""
        size = max(1, _WEIGHTS_AT_ONCE // (self.heads * tokens.shape[1] ** 2))
        parts = zip(*(torch.split(each, size) for each in self._asked(tokens)), strict=True)
        return self.out(torch.cat([self._read(*part)[0] for part in parts]).transpose(1, 2).flatten(2))

    def _asked(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value [batch, head, token, width of a head]."""
        return self._split(self.query(tokens)), self._split(self.key(tokens)), self._split(self.value(tokens))

    def _read(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.softmax(query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5)
        return self.weigh(weights, value), weights

    def _split(self, tokens: Tensor) -> Tensor:
        """Return [batch, head, token, width of a head]."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """Attention, then two dense layers, each added to what came in.

    survival   how often a branch is used in training (one draw per call); at rest it weighs as much (Huang et al. 2016)
    """

    def __init__(self, width: int, heads: int, hidden: int, survival: float, norm: str) -> None:
        super().__init__()
        self.before, self.survival = norm == "pre", survival
        self.attention = SelfAttention(width, heads)
        self.dense = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.adds = nn.ModuleList(Add() for _ in range(2))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens [batch, token, width] and attention [batch, head, token, token]."""
        read, weights = self.attention(self.norms[0](tokens) if self.before else tokens)
        return self._added(tokens, read), weights

    def read(self, tokens: Tensor) -> Tensor:
        """Return tokens alone (see `SelfAttention.read`)."""
        return self._added(tokens, self.attention.read(self.norms[0](tokens) if self.before else tokens))

    def _added(self, tokens: Tensor, read: Tensor) -> Tensor:
        tokens = self._joined(0, tokens, read)
        return self._joined(1, tokens, self.dense(self.norms[1](tokens) if self.before else tokens))

    def _joined(self, k: int, tokens: Tensor, branch: Tensor) -> Tensor:
        used = float(torch.rand(()) < self.survival) if self.training else self.survival
        joined = self.adds[k](tokens, used * branch)
        return joined if self.before else self.norms[k](joined)


class TransECG(nn.Module):
    """The transformer.

    n_leads, n_outputs  of the input [batch, lead, time] and of the logits [batch, output]
    length     samples of the input: positions are learnt, so no other length will do
    patch      samples of a token
    width, depth, heads, hidden   as above
    survival   of the last block's branches; those before it lie on a line from 1
    norm       "pre" or "post"
    """

    def __init__(
        self,
        n_leads: int = 1,
        n_outputs: int = 2,
        length: int = 2000,
        patch: int = 20,
        width: int = 256,
        depth: int = 6,
        heads: int = 6,
        hidden: int = 128,
        survival: float = 0.8,
        norm: str = "pre",
    ) -> None:
        super().__init__()
        if min(n_leads, n_outputs, patch, depth, heads, hidden) < 1 or width < heads or length < patch:
            raise ValueError("sizes must be 1 or more, the width no less than heads, the length no less than a patch")
        if norm not in ("pre", "post") or not 0 < survival <= 1:
            raise ValueError("norm must be pre or post, survival above 0 and at most 1")
        self.length, self.patch = length, patch
        self.embed = nn.Conv1d(n_leads, width, patch, stride=patch)
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(1 + length // patch, width))
        used = [1 - (1 - survival) * k / max(1, depth - 1) for k in range(depth)]
        self.blocks = nn.ModuleList(Block(width, heads, hidden, each, norm) for each in used)
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, n_outputs)

    def forward(self, signal: Tensor) -> Tensor:
        """Return logits [batch, output] of `signal` [batch, lead, time]. Raises ValueError for another length."""
        if not self.training:  # explanations follow each module, and find it called once
            return self.attend(signal).logits
        tokens = self._tokens(signal)
        for block in self.blocks:
            tokens = cast(Block, block).read(tokens)
        return self._named(tokens)

    def attend(self, signal: Tensor) -> TransformerAttended:
        """Return logits and the attention of every block. Raises ValueError for another length."""
        tokens, attentions = self._tokens(signal), []
        for block in self.blocks:
            tokens, weights = block(tokens)
            attentions.append(weights)
        return TransformerAttended(self._named(tokens), tuple(attentions))

    def _tokens(self, signal: Tensor) -> Tensor:
        if signal.shape[-1] != self.length:
            raise ValueError(f"{signal.shape[-1]} samples, where positions are learnt for {self.length}")
        patches = self.embed(signal).transpose(1, 2)
        first = self.class_token.expand(len(signal), 1, -1)
        return torch.cat([first, patches], dim=1) + self.positions

    def _named(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(tokens)[:, 0])
