"""Optimizers, precision, compiling, memory, the range test: what turns a loss into a step."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import network, same, weights
from torch import nn

from sightline import losses
from sightline.errors import ModelError, RunError, SettingsError, TrainingError
from sightline.training import checkpoint, compiling, lr_range, optim, precision
from sightline.training.precision import Precision, full
from sightline.training.trainer import Trainer
from sightline.training.untouched import untouched

Make = Callable[..., Trainer]


def test_norms_and_biases_do_not_decay() -> None:
    model = network()
    optimizer = optim.build("AdamW", model, lr=1e-3, weight_decay=0.1)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decays[id(p)] for name, p in model.named_parameters()}
    assert found == {"0.weight": 0.1, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "6.weight": 0.1, "6.bias": 0.0}


def test_frozen_and_tied_weights_are_held_once_or_not_at_all() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    optimizer = optim.build("sgd", model, lr=0.1)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]


def test_sgd_is_nesterovs() -> None:
    group = optim.build("sgd", network(), lr=0.1, momentum=0.8).param_groups[0]
    assert group["nesterov"]
    assert group["momentum"] == 0.8
    assert not optim.build("sgd", network(), lr=0.1, momentum=0.0).param_groups[0]["nesterov"]
    assert not optim.build("sgd", network(), lr=0.1, options={"nesterov": False}).param_groups[0]["nesterov"]


@pytest.mark.parametrize("name", sorted(set(optim.known()) - {"sparseadam"}))
def test_every_optimizer_of_torch_can_be_named_and_steps(name: str) -> None:
    model = nn.Linear(3, 2)
    decay = 0.0 if name in ("rprop", "sparseadam") else 0.01
    optimizer = optim.build(name.upper(), model, lr=0.01, weight_decay=decay)
    before = weights(model)
    loss = losses.loss("cross-entropy")(model(torch.ones(4, 3)), torch.tensor([0, 1, 1, 1]))
    Precision().backward(loss)
    Precision().step(optimizer)
    assert not same(weights(model), before)
    assert model.weight.grad is None


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("adamm", {}, "Did you mean 'adam'"),
        ("lbfgs", {}, "unknown optimizer 'lbfgs'"),
        ("rprop", {"weight_decay": 0.1}, "has no weight decay"),
        ("sgd", {"options": {"nestrov": True}}, "Did you mean 'nesterov'"),
        ("adam", {"options": {"betas": (2.0, 0.9)}}, "refuses"),
        ("muon", {"options": {"betas": (2.0, 0.9)}}, "refuses"),
    ],
)
def test_optimizers_refuse(name: str, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        optim.build(name, network(), **{"lr": 0.1, **options})


def test_nothing_to_train() -> None:
    with pytest.raises(ModelError):
        optim.build("sgd", nn.ReLU(), lr=0.1)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_state_from_elsewhere_is_laid_out_as_its_weights(name: str) -> None:
    """A fused kernel walks over weight and state side by side: a state in another order would be mixed up silently."""
    trained = []
    for convert in (False, True):
        model = nn.Conv2d(3, 4, 3)
        with torch.no_grad():
            model.weight.copy_(torch.linspace(-1, 1, model.weight.numel()).view_as(model.weight))
            nn.init.zeros_(model.bias)
        optimizer = optim.build(name, model, lr=0.1)

        def step(x: torch.Tensor, model: nn.Module = model, optimizer: Any = optimizer) -> None:
            model(x).square().mean().backward()
            Precision().step(optimizer)

        step(torch.linspace(0, 1, 75).view(1, 3, 5, 5))
        if convert:
            Precision().arrange(model, optimizer)
            saved = optimizer.state_dict()
            for state in saved["state"].values():
                for key, value in state.items():
                    state[key] = value.contiguous() if isinstance(value, torch.Tensor) else value
            optim.load(optimizer, saved)
            assert model.weight.is_contiguous(memory_format=torch.channels_last)
        step(torch.linspace(1, 0, 75).view(1, 3, 5, 5))
        trained.append(model.weight.detach().clone())
    torch.testing.assert_close(trained[0], trained[1])


def test_another_optimizers_state_is_refused() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
    state = optim.build("adam", one, lr=0.1).state_dict()
    with pytest.raises(RunError, match="another optimizer"):
        optim.load(optim.build("adam", other, lr=0.1), state)


@pytest.mark.parametrize("mode", ["fp32", "bf16", "fp16"])
def test_every_precision_keeps_weights_and_losses_in_fp32(mode: Any) -> None:
    model = network()
    how = Precision(mode)
    optimizer = optim.build("sgd", model, lr=0.01)
    how.arrange(model, optimizer)
    with how.forward():
        yhat = model(torch.ones(4, 1, 8, 8))
    assert yhat.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[mode]
    assert full(yhat).dtype == torch.float32
    how.backward(full(yhat).square().mean())
    norm = how.step(optimizer, clip_norm=1e9)
    assert norm is not None
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    other = Precision(mode)
    other.load_state_dict(how.state_dict())
    assert other.state_dict() == how.state_dict()
    assert bool(how.state_dict()) == (mode == "fp16")


def test_full_goes_into_tuples_lists_and_dicts() -> None:
    half = torch.ones(2, dtype=torch.bfloat16)
    found = full((half, [half, "text"], {"a": half}, torch.ones(1, dtype=torch.long)))
    assert found[0].dtype == found[1][0].dtype == found[2]["a"].dtype == torch.float32
    assert found[1][1] == "text"
    assert found[3].dtype == torch.long


@pytest.mark.parametrize(
    ("flags", "mode", "why"),
    [
        ({"avx512_bf16", "avx2"}, "bf16", "multiplies bf16 natively (avx512_bf16)"),
        ({"avx2"}, "fp32", "no native bf16"),
        (set(), "fp32", "no native bf16"),
    ],
)
def test_auto_follows_the_processor(flags: set[str], mode: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: flags)
    monkeypatch.setattr(precision.platform, "system", lambda: "Linux")
    found, said = Precision.choose("auto", "cpu")
    assert found.mode == mode
    assert why in said
    assert Precision.of("fp32").mode == "fp32"


@pytest.mark.parametrize(
    ("capability", "mode"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
)
def test_auto_follows_the_gpu(capability: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    found, why = precision._cuda(torch.device("cuda"))
    assert found == mode
    assert "a card has capability" in why
    assert Precision.choose("auto", "mps")[0].mode == "fp32"


def test_a_precision_that_is_none() -> None:
    with pytest.raises(SettingsError, match="precision is 'fp8'"):
        Precision("fp8")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="precision is 'auto'"):
        Precision("auto")


def test_the_processors_flags_are_known_here() -> None:
    assert all(isinstance(flag, str) for flag in precision.processor_flags())


def test_keeping_memory_is_asked_for_and_changes_no_result() -> None:
    """In a process of its own: it cannot be taken back."""
    code = (
        "import torch; from sightline.training.memory import keep_memory; said = keep_memory(); print(said);"
        "x = [torch.ones(1 << 20) for _ in range(9)]; assert sum(float(y.sum()) for y in x) == 9 << 20"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "memory" in done.stdout


def test_kept_memory_comes_in_large_pages_where_they_can_be_asked_for() -> None:
    code = (
        "import torch; from sightline.training.memory import keep_memory; said = keep_memory()\n"
        "assert keep_memory() is said, 'a second call does nothing'\n"
        "x = torch.ones(16 << 20); rss = [line for line in open('/proc/self/smaps') if line.startswith('AnonHuge')]\n"
        "print('in large pages' in said, sum(int(line.split()[1]) for line in rss))"
    )
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.is_file() or "[never]" in setting.read_text():
        pytest.skip("this system gives no large pages")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    asked, kilobytes = done.stdout.split()
    assert asked == "False" or int(kilobytes) >= 60_000, "a tensor of 64 MB lies in them"


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@given(
    TREES, st.lists(st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool]), max_size=3)
)
def test_a_checkpoint_holds_any_tree_of_plain_values(
    tmp_path_factory: pytest.TempPathFactory, tree: Any, dtypes: list[torch.dtype]
) -> None:
    path = tmp_path_factory.mktemp("tree") / "state.safetensors"
    tensors = [torch.randint(2, (2, 3)).to(dtype) for dtype in dtypes]
    checkpoint.save(path, {"tree": tree, "tensors": tensors, "none": torch.zeros(())})
    found = checkpoint.load(path)
    assert found["tree"] == tree
    assert repr(found["tree"]) == repr(tree)  # tuples stay tuples, True stays True
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found["tensors"], tensors, strict=True))


def test_a_checkpoint_holds_tied_strided_and_odd_values(tmp_path: Any) -> None:
    path = tmp_path / "state.safetensors"
    tied = torch.randn(2, 3, 4, 5)
    odd = {"a": tied, "b": tied, "c": tied.permute(0, 2, 3, 1), "d": tied.to(memory_format=torch.channels_last),
           "inf": [math.inf, -math.inf, math.nan], "§tensor": ["§tensor", "x"][1:]}  # fmt: skip
    checkpoint.save(path, odd)
    found = checkpoint.load(path)
    assert torch.equal(found["a"], tied)
    assert torch.equal(found["b"], tied)
    assert torch.equal(found["c"], odd["c"])
    assert torch.equal(found["d"], tied)
    assert found["inf"][:2] == [math.inf, -math.inf]
    assert math.isnan(found["inf"][2])


def test_a_checkpoint_refuses_what_it_cannot_hold(tmp_path: Any) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(TrainingError, match=r"the state 'a.b' is a object"):
        checkpoint.save(path, {"a": {"b": object()}})
    assert not path.exists()
    checkpoint.save_weights(path, {"w": torch.ones(2)}, epoch=3)
    with pytest.raises(RunError, match="holds no training state"):
        checkpoint.load(path)
    with pytest.raises(RunError, match="does not exist"):
        checkpoint.load(tmp_path / "none")


def test_a_newer_checkpoint_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    checkpoint.save(path, {})
    monkeypatch.undo()
    with pytest.raises(RunError, match="format 2; this version reads up to 1"):
        checkpoint.load(path)


def batches(count: int = 20) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 16, 1, 8, 8, generator=generator)
    return [(x, (x.mean((1, 2, 3)) * 1e4).long() % 10) for x in x]


def test_a_trial_leaves_everything_as_it_was() -> None:
    model = network().train()
    model[6].eval()
    optimizer = optim.build("adamw", model, lr=0.1)
    x, y = batches(1)[0]
    losses.loss("cross-entropy")(model(x), y).backward()
    Precision().step(optimizer)
    losses.loss("cross-entropy")(model(x), y).backward()
    before, state = weights(model), {k: v.clone() for k, v in optimizer.state_dict()["state"][0].items()}
    gradient = model[0].weight.grad
    numbers = torch.get_rng_state()

    def trial() -> None:
        with untouched(model, optimizer):
            model.eval()
            losses.loss("cross-entropy")(model(x), y).backward()
            torch.rand(3)
            Precision().step(optimizer)
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        trial()
    assert same(weights(model), before)
    assert same(optimizer.state_dict()["state"][0], state)
    assert model[0].weight.grad is gradient
    assert torch.equal(torch.get_rng_state(), numbers)
    assert model.training
    assert not model[6].training


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_range_test_finds_a_rate_and_leaves_no_trace(make: Make, digits: Any, optimizer: str) -> None:
    model = network()
    held = optim.build(optimizer, model, lr=1e-3)
    before, numbers, options = weights(model), torch.get_rng_state(), [dict(g) for g in held.param_groups]
    data = torch.utils.data.DataLoader(digits[0], 32, shuffle=True)
    found = lr_range.find(model, data, losses.loss("cross-entropy"), held, steps=60)
    assert same(weights(model), before)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert [dict(g) for g in held.param_groups] == options
    assert not held.state_dict()["state"]
    assert found.rates == sorted(found.rates)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 60
    assert found.suggestion is not None
    assert 1e-5 < found.suggestion < 1
    assert f"{found.suggestion:g}" in found.sentence
    assert len(found.as_dict()["rows"]) == len(found.rates)
    trainer = make(
        model=model, optimizer=optim.build(optimizer, model, lr=found.suggestion), epochs=4, traindataloader=data
    )  # fmt: skip
    trainer.loop()
    assert trainer.history[-1]["valid_loss"] < 0.9 * trainer.history[0]["valid_loss"]


def test_a_range_test_that_finds_nothing_says_so() -> None:
    model = network()
    held = optim.build("sgd", model, lr=1e-3)
    plain = losses.loss("cross-entropy")

    def rising(yhat: torch.Tensor, y: torch.Tensor, count: list[int] = []) -> torch.Tensor:  # noqa: B006
        count.append(1)
        return plain(yhat, y) * 0 + len(count)

    found = lr_range.find(model, batches(), rising, held, steps=10)
    assert found.suggestion is None
    assert "fell at no rate" in found.sentence
    found = lr_range.find(model, [batches(1)[0]], plain, held, steps=10, low=1e-3, high=1e-2)
    assert "the loss still fell at 0.01, the highest rate tried" in found.sentence
    with pytest.raises(SettingsError, match="range test from 1"):
        lr_range.find(model, batches(), plain, held, low=1.0, high=0.5)
    with pytest.raises(TrainingError, match="loss is nan at a learning rate of 1e-06"):
        lr_range.find(model, batches(), lambda yhat, y: plain(yhat, y) * math.nan, held)


def choose(mode: Any, model: nn.Module, **options: Any) -> compiling.Choice:
    x, y = batches(1)[0]
    return compiling.choose(mode, model, x, y, losses.loss("cross-entropy"), Precision(), **options)


def test_compiling_is_measured_and_leaves_the_model_alone() -> None:
    model = network()
    before = weights(model)
    assert choose("off", model, steps=10**9) == compiling.Choice(model, False, "not compiled, as set")
    short = choose("auto", model, steps=10)
    assert not short.compiled
    assert short.forward is model
    assert "the steps take at most about" in short.reason
    done = choose("on", model, steps=10, backend="eager")
    assert done.compiled
    assert "ms a step instead of" in done.reason
    assert same(weights(model), before)
    x, _ = batches(1)[0]
    model.eval()
    torch.testing.assert_close(done.forward(x), model(x))


def test_without_a_compiler_the_model_stays_as_it_is() -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    torch._dynamo.reset()
    found = choose("on", network(), steps=10, backend=broken)
    assert not found.compiled
    assert "torch.compile fails here" in found.reason


def test_a_trainer_runs_what_was_compiled(make: Make) -> None:
    model = network()
    calls = []

    def compiled(x: torch.Tensor) -> torch.Tensor:
        calls.append(model.training)
        return model(x)

    trainer = make(model=model, forward=compiled, epochs=1)
    trainer.loop()
    assert calls == [True] * 5 + [False] * 2
