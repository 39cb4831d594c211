"""A model and batches -> a trained model and its history: the lecture's Trainer, whose loop stays in sight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.errors import SettingsError, TrainingError
from sightline.progress import Progress
from sightline.run import RunFolder
from sightline.settings import TrainerSettings
from sightline.tracking.tracker import Context, Tracker, Trackers, make
from sightline.training import device as devices
from sightline.training import optim, watch
from sightline.training import row as rows
from sightline.training.averaging import Average
from sightline.training.batches import Feed, groups, size
from sightline.training.best import Best
from sightline.training.constraints import MaxNorm
from sightline.training.ending import Ending
from sightline.training.freezing import Freezing
from sightline.training.instruments import Instruments
from sightline.training.norms import Statistics
from sightline.training.precision import Precision, full
from sightline.training.rate import Rate, Scheduler
from sightline.training.record import Record
from sightline.training.scores import Scores, score_all
from sightline.training.state import Remembers, State
from sightline.training.stopping import EarlyStopping, Stopper
from sightline.training.tally import Tally


class Trainer:
    """Trains any ``nn.Module`` on any iterable of (x, y), and ends with the best weights in the model.

    After ``loop()``, however it ended (all epochs done, patience, time limit, Ctrl-C, an error), ``model`` holds the
    weights of the epoch with the best ``monitor``, and is in evaluation mode. It stays the same module with the same
    parameters. ``loop()`` once more trains ``settings.epochs`` epochs more, from the weights it ended with (not from
    the best: the optimizer's memory belongs to the last), unless somebody has put others into the model.

    The first Ctrl-C ends the epoch after the current step: it is evaluated and counts, and ``loop`` returns as
    always; the second stops at once by ``KeyboardInterrupt``. With a run folder both can be resumed exactly:
    ``resume()`` goes back to that step, and the epoch that was cut short is made whole.

    Args:
        model: moved to the device; batches are given to it as ``model(x)``.
        settings: the lecture's. ``train_steps`` and ``valid_steps`` None: all batches, each epoch a new pass; numbers:
            that many batches an epoch, from an iterator that lives on and begins again when it is used up.
        loss_fn: called ``loss_fn(yhat, y)`` with yhat in float32, gives a batch's mean; see ``sightline.losses``.
        optimizer: a class, called with the model's parameters and ``settings.optimizer_kwargs``; or an optimizer that
            holds the model's own parameters, see ``optim.build``.
        traindataloader: batches (x, y), x a tensor or a tuple of tensors, y a tensor; arrays will do.
        validdataloader: the same, for validation.
        scheduler: a class, called with the optimizer and ``settings.scheduler_kwargs``, stepped after each epoch; or
            a schedule by steps, see ``schedule.build``; or None.
        device: ``cpu``, ``cuda``, ...; None: where the model is.
        precision: fp32 as torch runs it by default; ``Precision.of('auto', device)`` takes what is fast.
        forward: what to call instead of ``model``, with the same weights: the model compiled, see ``compiling``.
        penalty: gives what is added to the loss from the model's weights, such as ``penalties.Penalty({"l2": 1e-4})``.
        clip_norm: largest norm of all gradients together; None does not clip.
        max_norm: largest norm of what each unit takes in, after each step; None does not bound it.
        accumulate: batches whose gradients make one step.
        ema: decay of the moving average of the weights, which is then what is evaluated and kept; 0 has none.
        swa: epochs after which the weights enter an equal average, which from then on is what is evaluated and kept.
        statistics: training batches on which the norms of averaged weights are measured; those trained on by default.
        snapshots: epochs after which the weights are kept in the run folder, whatever comes later.
        probe: a fixed set of training batches, evaluated as validation is: its loss may be compared with validation's.
        trackers: in addition to those of ``settings.reporttypes``.
        folder: where history, weights and checkpoints go; None keeps them in memory.
        checkpoint_minutes: longest time between two checkpoints; cheap ones are written after each epoch, too.
        progress: shows what happens; on stderr by default.
        monitor: the number of the history's rows that decides which epoch is best, and early stopping.
        time_limit_s: seconds, over all resumptions, after which the loop ends as after Ctrl-C.
        freezing: which parameters stay as they are, and until which epoch; it is asked at the start of each.
        instruments: look into the layers after some epochs; they change nothing.
        stopper: says when to stop early, instead of the settings' ``earlystop_kwargs``.

    Attributes:
        stopped: why the last loop ended, a phrase.
        interrupted: whether that was Ctrl-C.
        test_loss: the validation loss of the epoch reported last.
        last_epoch: epochs done.
        step: optimizer updates done.

    Raises:
        SettingsError: a setting is out of range, or does not fit another; before anything is trained.
        ModelError: the model has nothing to train.
        MissingExtraError: a tracker's package is not installed.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainerSettings,
        loss_fn: Callable[[Any, Tensor], Tensor],
        optimizer: type[Optimizer] | Optimizer,
        traindataloader: Iterable[Any],
        validdataloader: Iterable[Any],
        scheduler: Scheduler | None = None,
        device: str | torch.device | None = None,
        *,
        precision: Precision | None = None,
        forward: Callable[[Any], Any] | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        accumulate: int = 1,
        ema: float = 0.0,
        swa: Collection[int] = (),
        statistics: Iterable[Any] | None = None,
        snapshots: Collection[int] = (),
        probe: Iterable[Any] | None = None,
        trackers: Sequence[Tracker] = (),
        folder: RunFolder | None = None,
        checkpoint_minutes: float = 5.0,
        progress: Progress | None = None,
        monitor: str = "valid_loss",
        time_limit_s: float | None = None,
        freezing: Freezing | None = None,
        instruments: Instruments | None = None,
        stopper: Stopper | None = None,
    ) -> None:
        if accumulate < 1 or (clip_norm is not None and not clip_norm > 0):
            raise SettingsError(
                f"'accumulate' is {accumulate} and 'clip_norm' {clip_norm}.",
                "Accumulate at least 1 batch, and clip at a norm above 0, or None.",
            )
        self.device = optim.trained(model)[0].device if device is None else devices.choose(str(device))[0]
        self.model = model.to(self.device)
        self.forward = self.model if forward is None else forward
        self.settings = settings
        self.loss_fn = loss_fn
        self.traindataloader = traindataloader
        self.validdataloader = validdataloader
        self.precision = precision or Precision("fp32", self.device, channels_last=False)
        self.penalty: Callable[[nn.Module], Tensor | float] = penalty or (lambda model: 0.0)
        self.clip_norm = clip_norm
        self.freezing = freezing or Freezing()
        self.instruments = instruments or Instruments()
        self.bound = MaxNorm(self.model, max_norm)
        self.accumulate = accumulate
        self.monitor = monitor
        self.folder = folder
        self.progress = progress or Progress()
        self.optimizer = optim.over(model, optimizer, settings.optimizer_kwargs)
        self.precision.arrange(self.model, self.optimizer)
        self.rate = Rate(scheduler, self.optimizer, settings.scheduler_kwargs)
        layout = self.precision.channels_last
        measured = traindataloader if statistics is None else statistics
        self.average = Average(self.model, ema, swa, Statistics(measured, self.device, layout, self.precision.forward))
        self._train = Feed(traindataloader, settings.train_steps, self.device, layout, "traindataloader")
        self._held_out = {"valid": Feed(validdataloader, settings.valid_steps, self.device, layout, "validdataloader")}
        if probe is not None:
            self._held_out["probe"] = Feed(probe, None, self.device, layout, "probe")
        self._record = Record(folder, settings.logdir, checkpoint_minutes, snapshots)
        self.history = self._record.history
        self.log_dir = self._record.path
        lower = rows.lower_is_better(monitor, settings.metrics, probe is not None)
        self.best = Best(lower)
        self.early_stopping: Stopper | None = stopper or EarlyStopping.of(
            settings.earlystop_kwargs, log_dir=self.log_dir, lower_is_better=lower, progress=self.progress
        )
        self._trackers = Trackers([*trackers, *make(settings.reporttypes)])
        self._ending = Ending(time_limit_s)
        self._tally = Tally.for_device(self.device)
        self._state = State(self.model, self.optimizer, self.best, self.device, self._parts())
        self._steps: dict[str, float] = {}
        self._scores: dict[str, Scores] = {}
        self.stopped = self._cut = ""
        self.interrupted = self._resumed = False
        self.test_loss = math.nan
        self.last_epoch = self.step = self._until = 0

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are the best so far, from 1; 0 before there is one."""
        return self.best.epoch

    def loop(self) -> None:
        """Train ``settings.epochs`` epochs, or what was left of them after ``resume()``; then restore the best weights.

        Raises:
            TrainingError: the loss became NaN or infinite (the message names epoch, step and layer), or memory ran out.
            SourceError: a batch or label cannot be used.
            RunError: the folder holds another training, or cannot be written.
            KeyboardInterrupt: at the second Ctrl-C.
        """
        try:
            self._start()
            with self._ending, self.progress.task("Training", total=self._until) as task:
                task.advance(self.last_epoch)
                while not self._why_stop():
                    epoch = self.last_epoch + 1
                    train_loss = self.trainbatches()
                    metric_dict, test_loss = self.evalbatches()
                    self.report(epoch, train_loss, test_loss, metric_dict)
                    self._conclude(self._row(epoch, train_loss, test_loss, metric_dict))
                    task.advance()
                self.stopped = self._why_stop()
            with self.average.applied():
                self._record.finish(self.best, self.model.state_dict(), self._trackers)
        except torch.OutOfMemoryError as error:
            raise watch.full(self.device, self.last_epoch + 1, error) from None
        finally:
            self.best.enter(self.model)
            self.model.eval()
            self._resumed = False
            self._trackers.close()

    def trainbatches(self) -> float:
        """Train for one epoch, or for the rest of one that was cut off.

        Returns:
            The training loss, the mean over all examples as they came, without penalty.
        """
        began = time.monotonic()
        tally = self._tally
        self.model.train()
        self.freezing.apply(self.model, self.last_epoch + 1)
        self.optimizer.zero_grad(set_to_none=True)
        with self.progress.task(f"Epoch {self.last_epoch + 1}", total=self._train.total) as task:
            task.advance(tally.batches)
            for group in groups(self._train.epoch(tally.batches), self.accumulate):
                self.rate.before(self.step)
                for x, y, share in group:
                    with self.precision.forward():
                        yhat = self.forward(x)
                    loss = self.loss_fn(full(yhat), y)
                    penalty = self.penalty(self.model)
                    self.precision.backward((self._counted(loss, penalty, x, y) + penalty) * share)
                norm = self.precision.step(self.optimizer, self.clip_norm)
                self.bound()
                self.step += 1
                tally.norm(norm)
                self.average.step()
                task.advance(len(group))
                task.describe(tally.text())
                self._cut = self._ending.why()
                if self._cut or self._record.due:
                    self._record.spent("train_s", began)
                    self.save()
                    began = time.monotonic()
                if self._cut:
                    self.progress.note(f"{self._cut}: this epoch ends here and is evaluated")
                    break
        train_loss = tally.mean()
        if tally.bad:
            raise self._failed("the loss", watch.origin(self.model, x, self.precision.forward))
        self._record.spent("train_s", began)
        self._record.examples = tally.examples
        self._steps = {"lr": self.rate.now, "step": self.step}
        self._steps |= {name: tally.mean(name) for name in ("penalty", "grad_norm") if tally.has(name)}
        tally.clear()
        self.average.epoch(self.last_epoch + 1)
        return train_loss

    def evalbatches(self) -> tuple[dict[str, float], float]:
        """Evaluate the validation batches and the probe's, in evaluation mode, with the averaged weights if there are.

        Returns:
            The validation metrics by name, and the validation loss, each over all examples.

        Raises:
            TrainingError: the weights are not finite, or there is no batch.
        """
        self.model.eval()
        with self.average.applied():
            how = (self.loss_fn, self.settings.metrics, self.precision, self.progress, self._record.clock)
            self._scores = score_all(self.forward, self._held_out, *how)
            valid = self._scores["valid"]
            broken = None if math.isfinite(valid.loss) else watch.broken_weight(self.model)
        if broken:
            raise self._failed("the validation loss", f"in the weight '{broken}', after the last step")
        return valid.metrics, valid.loss

    def report(self, epoch: int, train_loss: float, test_loss: float, metrics: dict[str, float]) -> None:
        """Tell trackers and people about an epoch.

        Args:
            epoch: its number, from 1.
            train_loss: as ``trainbatches`` gave it.
            test_loss: the validation loss, as ``evalbatches`` gave it.
            metrics: of the validation, by name.
        """
        self.test_loss = test_loss
        row = self._row(epoch, train_loss, test_loss, metrics)
        self._trackers.row(rows.for_trackers(row, metrics))
        best = self.best.beaten_by(row.get(self.monitor, math.nan))
        self.progress.note(rows.line(row, metrics, self._until, sum(self._record.seconds.values()), best))

    def save(self) -> None:
        """Write a checkpoint from which ``resume`` goes on exactly; without a folder nothing is written.

        Raises:
            RunError: the disk is full, or there is no permission; the checkpoint before is then as it was.
        """
        plan = {"epoch": self.last_epoch, "step": self.step, "until": self._until}
        self._record.save({"plan": plan, **self._state.gather()}, self.best)

    def resume(self) -> bool:
        """Bring everything to where the folder's last checkpoint was; ``loop()`` then goes on to the planned epochs.

        What history and losses were written after that checkpoint is forgotten, and will be made again, the same.

        Returns:
            False if the training was cut off before its first checkpoint: it then begins anew.

        Raises:
            RunError: there is no folder, or its files are damaged or belong to another training.
            ModelError: the weights do not fit the model.
        """
        tree = self._record.load()
        if tree is None:
            return False
        self._state.restore(tree, str(self.log_dir))
        self.last_epoch, self.step, self._until = (tree["plan"][name] for name in ("epoch", "step", "until"))
        self._resumed = True
        return True

    def _parts(self) -> dict[str, Remembers]:
        """Give everything besides model, optimizer and best weights that remembers something, by its name."""
        return {
            "rate": self.rate,
            "precision": self.precision,
            "ema": self.average,
            "ending": self._ending,
            "tally": self._tally,
            "train": self._train,
            "valid": self._held_out["valid"],
            **({"early_stopping": self.early_stopping} if self.early_stopping else {}),
            **({"loss": self.loss_fn} if isinstance(self.loss_fn, nn.Module) and self.loss_fn.state_dict() else {}),
        }

    def _start(self) -> None:
        """Plan the epochs, open folder and trackers, and write the first checkpoint: the weights it begins with."""
        first = self._record.open()
        self.log_dir = self._record.path
        self._cut = ""
        self.interrupted = False
        self.best.leave(self.model)
        self.freezing.apply(self.model, max(1, self.last_epoch))
        if not self._resumed:
            self._until = self.last_epoch + self.settings.epochs
            self._ending.restart()
            if self.early_stopping:
                self.early_stopping.restart(self.log_dir)
        self._trackers.start(Context(self.log_dir, self.settings, self.model, self.last_epoch))
        if first:
            self.save()

    def _conclude(self, row: dict[str, float]) -> None:
        """Count an epoch: its numbers first, then the checkpoint that knows of them."""
        self.last_epoch += 1
        valid = self._scores.get("valid") if self.settings.valid_steps is None else None
        self._record.add(row, valid.losses if valid else None)
        with self.average.applied():
            self.best.see(row[self.monitor], self.last_epoch, self.model)
            self._record.snapshot(self.last_epoch, self.model.state_dict())
            if self.early_stopping:
                self.early_stopping.after(row[self.monitor], self.model, valid.losses if valid else None)
        if not self._cut:  # else the checkpoint inside the epoch stands: from there it can be made whole
            self.instruments.measure(self.model, self.optimizer, self.last_epoch, self.last_epoch >= self._until)
            self.rate.after(row["valid_loss"])
            if self._record.cheap or self._record.due or self._why_stop():
                self.save()

    def _why_stop(self) -> str:
        """Say why the loop ends here; an empty string if it goes on."""
        cut = self._cut or (self._ending.why() if self.step else "")
        self.interrupted = self._ending.requested
        if cut:
            return f"{cut} in epoch {self.last_epoch}, after step {self.step}"
        if self.early_stopping and self.early_stopping.early_stop:
            return self.early_stopping.why(self.monitor, self.best_epoch)
        return f"all {self._until} epochs are done" if self.last_epoch >= self._until else ""

    def _counted(self, loss: Tensor, penalty: Tensor | float, x: Any, y: Tensor) -> Tensor:
        """Count a batch, and on the processor stop at a loss that is not finite before it can reach the weights."""
        self._tally.batch(loss, penalty, size((x, y)))
        if self._tally.bad:
            raise self._failed("the loss", watch.origin(self.model, x, self.precision.forward))
        return loss

    def _failed(self, what: str, where: str) -> TrainingError:
        return watch.failure(what, where, self.last_epoch + 1, self._tally.bad or self._tally.batches, self.rate.now)

    def _row(self, epoch: int, train_loss: float, test_loss: float, metrics: dict[str, float]) -> dict[str, float]:
        return rows.build(epoch, train_loss, test_loss, metrics, self._steps, self._scores.get("probe"))
