"""The training loop: it knows `model(**batch).loss` and nothing else about models."""

import json
import math
import shutil
import time
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import BatchSampler, DataLoader
from tqdm import tqdm

from ..configuration_sketch_colorizer import SketchColorizerConfig
from ..image_processing_sketch_colorizer import SketchColorizerImageProcessor
from ..modeling_sketch_colorizer import SketchColorizerForClassification, SketchColorizerForRegression
from .corpus_prior import stored_colors
from .data import ColorizationDataset, RunSampler, divide, load_corpus, measure_colors, mirrored, with_line_art
from .muon import Muon, hidden_weights
from .recipe import Recipe
from .run_card import run_card
from .samples import sample_grid, write_loss_plot, write_sample_grid

MODELS = {"classification": SketchColorizerForClassification, "regression": SketchColorizerForRegression}
OBJECTIVE = (  # what a later stage may change
    "rebalancing",
    "region_share",
    "color_cost_weight",
    "grey_price",
    "ink_threshold",
)
ECHO_DISTANCE = 16  # batches between a batch and its echo, so that steps beside each other see different pictures
NUM_HELD_OUT = 96  # held-out pictures whose loss chooses the best weights


class Progress:
    """Steps done, the losses seen, and the best held-out loss; stored with each checkpoint."""

    def __init__(self) -> None:
        self.step, self.best, self.history, self.seconds, self.evaluated_at = 0, math.inf, [], 0.0, 0

    def state_dict(self) -> dict:
        return dict(vars(self))

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


class Trainer:
    """One run of one recipe, from the corpus to a folder that `from_pretrained` loads."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.output_dir = recipe, Path(recipe.output_dir)
        if recipe.num_threads:
            torch.set_num_threads(recipe.num_threads)
        loading = DataLoaderConfiguration(split_batches=True, use_seedable_sampler=False)
        self.accelerator = Accelerator(
            mixed_precision=recipe.mixed_precision,
            gradient_accumulation_steps=recipe.gradient_accumulation_steps,
            log_with=recipe.log_with,
            project_dir=recipe.output_dir,
            dataloader_config=loading,
        )
        if recipe.log_with and not self.accelerator.log_with:
            raise ValueError(f"recipe: log_with={recipe.log_with} needs a package that is not installed")
        _warn_of_slow_precision(self.accelerator)
        self.processor = SketchColorizerImageProcessor(**recipe.processor)
        set_seed(recipe.seed)
        table, held_out = divide(load_corpus(recipe.data, recipe.split))
        self.model = self._make_model(table)
        self._fit_processor(self.model.unet.stride)
        finds_regions = recipe.model == "classification" and self.model.config.region_share > 0
        on_device = recipe.line_art_on_device
        if on_device is None:
            on_device = self.accelerator.device.type == "cuda" and not finds_regions
        sizes = {"image_size": recipe.image_size, "scale": (recipe.min_scale, recipe.max_scale)}
        self.samples = ColorizationDataset(
            table,
            seed=recipe.seed,
            real_share=recipe.real_share,
            share_without_hints=recipe.share_without_hints,
            collage_share=recipe.collage_share,
            draws_lines=not on_device,
            finds_regions=finds_regions,
            **sizes,
        )
        self.held_out = ColorizationDataset(
            held_out, seed=1, share_without_hints=1.0, finds_regions=finds_regions, **{**sizes, "scale": (1.0, 1.0)}
        )
        self.progress = Progress()

    def _make_model(self, table) -> nn.Module:
        recipe, kind = self.recipe, _model_class(self.recipe.model)
        free = () if recipe.model == "flow" else OBJECTIVE
        if recipe.init_from and not set(recipe.config) <= set(free):
            raise ValueError(
                "recipe: init_from brings its own network and classes; beside it `config` may set "
                f"{', '.join(free) or 'nothing'}, got {', '.join(recipe.config)}"
            )
        other = _other_head(recipe.init_from, kind) if recipe.init_from else None
        if recipe.init_from and other is None:
            model = kind.from_pretrained(recipe.init_from, dtype=torch.float32, **recipe.config)
            if recipe.model == "classification":
                model.quantizer.weigh_classes()
        elif recipe.model == "flow":
            model = kind.from_preset(recipe.preset, **recipe.config)
        else:
            if other:
                trained = other.from_pretrained(recipe.init_from, dtype=torch.float32, **recipe.config)
                model = kind(trained.config)
                model.unet.load_state_dict(trained.unet.state_dict())
            else:
                model = kind(SketchColorizerConfig.from_preset(recipe.preset, **recipe.config))
            if recipe.model == "classification":
                stored = stored_colors(recipe.data) if recipe.split == "train" else None
                model.fit_colors(*(stored or measure_colors(table)))
        if recipe.image_size % model.unet.stride:
            raise ValueError(f"recipe: image_size must be a multiple of {model.unet.stride}, got {recipe.image_size}")
        if recipe.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        return model.to(memory_format=torch.channels_last)

    def _fit_processor(self, stride: int) -> None:
        """See that the finished model's processor pads drawings to what the network takes."""
        divisor = self.processor.size_divisor
        if divisor % stride and "size_divisor" in self.recipe.processor:
            raise ValueError(f"recipe: the processor's size_divisor must be a multiple of {stride}, got {divisor}")
        self.processor.size_divisor = math.lcm(divisor, stride)

    def fit(self, *, resume: bool = False) -> Path:
        """Train to the end of the recipe; returns the folder of the finished model."""
        recipe, accelerator = self.recipe, self.accelerator
        optimizer = Muon(
            list(self.model.parameters()),
            hidden_weights(self.model) if recipe.optimizer == "muon" else [],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            betas=(0.9, 0.98),
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        model = torch.compile(self.model) if recipe.compile else self.model
        model, optimizer = accelerator.prepare(model, optimizer)
        average = AveragedModel(
            accelerator.unwrap_model(model), multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=False
        )
        accelerator.register_for_checkpointing(average, schedule, self.progress)
        if resume:
            self._resume()
        self.output_dir.mkdir(parents=True, exist_ok=True)
        (self.output_dir / "recipe.yaml").write_text(recipe.to_yaml())
        if recipe.log_with:
            accelerator.init_trackers("sketch_colorizer", config=recipe.flat())
        self._loop(model, optimizer, schedule, average)
        accelerator.end_training()
        return self._finish(average)

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to `final_lr` at the last step."""
        recipe = self.recipe
        cosine = 0.5 * (1 + math.cos(math.pi * min(1, step / recipe.max_steps)))
        return min(1, (step + 1) / max(1, recipe.warmup_steps)) * (recipe.final_lr + (1 - recipe.final_lr) * cosine)

    def _loop(self, model: nn.Module, optimizer, schedule, average: AveragedModel) -> None:
        recipe, accelerator, progress = self.recipe, self.accelerator, self.progress
        batches = self._batches()
        started, seconds_before = time.monotonic(), progress.seconds
        bar = tqdm(
            total=recipe.max_steps,
            initial=progress.step,
            disable=not accelerator.is_main_process,
            unit="step",
            mininterval=5,
        )
        model.train()
        while progress.step < recipe.max_steps and not self._out_of_time():
            loss = torch.stack(
                [self._backward(model, next(batches)) for _ in range(recipe.gradient_accumulation_steps)]
            ).mean()
            norm = accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            average.update_parameters(accelerator.unwrap_model(model))
            progress.step += 1
            progress.seconds = seconds_before + time.monotonic() - started
            bar.update()
            self._report(bar, loss, norm, schedule.get_last_lr()[0])
            if progress.step % recipe.evaluate_every == 0 or progress.step == recipe.max_steps:
                self._evaluate(average)
            if progress.step % recipe.checkpoint_every == 0:
                self._save_checkpoint()

    def _backward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        batch = {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in batch.items()}
        loss = model(**batch).loss
        if not torch.isfinite(loss):
            last = self._checkpoints()[-1].name if self._checkpoints() else "none yet"
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.progress.step}; last good checkpoint: {last}"
            )
        self.accelerator.backward(loss / self.recipe.gradient_accumulation_steps)
        return loss.detach()

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """What the steps take, from the next one on: every loaded batch, each followed by echoes of earlier ones.

        Data echoing (Choi et al. 2019): where samples are slower to make than to learn from, each one serves
        `recipe.echo` times. The order depends on the step alone, so a resumed run goes on exactly where it stopped.
        """
        echo = self.recipe.echo
        number, turn = divmod(self.progress.step * self.recipe.gradient_accumulation_steps, echo)
        first = max(0, number - (echo - 1) * ECHO_DISTANCE)
        recent: deque[dict[str, Tensor]] = deque(maxlen=(echo - 1) * ECHO_DISTANCE + 1)
        for loaded, batch in enumerate(self._loader(first), first):
            recent.append(with_line_art(batch))
            if loaded < number:
                continue
            for echoed in range(turn if loaded == number else 0, echo):
                earlier = recent[max(0, len(recent) - 1 - echoed * ECHO_DISTANCE)]
                yield mirrored(earlier) if echoed % 2 else earlier

    def _loader(self, first: int) -> DataLoader:
        """The run's batches from number `first` on."""
        recipe = self.recipe
        sampler = RunSampler(len(self.samples), seed=recipe.seed, start=first * recipe.batch_size)
        loader = DataLoader(
            self.samples,
            batch_sampler=BatchSampler(sampler, recipe.batch_size, drop_last=True),
            num_workers=recipe.num_workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if recipe.num_workers else None,
        )
        return self.accelerator.prepare(loader)

    def _out_of_time(self) -> bool:
        return self.recipe.max_minutes is not None and self.progress.seconds > self.recipe.max_minutes * 60

    def _report(self, bar: tqdm, loss: Tensor, norm: Tensor, rate: float) -> None:
        progress, recipe = self.progress, self.recipe
        if progress.step % recipe.log_every:
            return
        value = self.accelerator.reduce(loss, "mean").item()
        speed = progress.step * recipe.batch_size * recipe.gradient_accumulation_steps / max(progress.seconds, 1e-9)
        progress.history.append({"step": progress.step, "loss": value, "seconds": round(progress.seconds, 1)})
        bar.set_postfix(loss=f"{value:.4f}", img_s=f"{speed:.1f}")
        self.accelerator.log(
            {"loss": value, "grad_norm": float(norm), "lr": rate, "images_per_second": speed}, step=progress.step
        )

    @torch.no_grad()
    def _evaluate(self, average: AveragedModel) -> None:
        """The averaged weights on held-out pictures: loss, best weights, and a grid of samples."""
        self.progress.evaluated_at = self.progress.step
        if not self.accelerator.is_main_process:
            return
        model = average.module.eval()
        pictures = [self.held_out[index] for index in range(min(NUM_HELD_OUT, len(self.held_out)))]
        losses, grid = [], []
        size = min(16, self.recipe.batch_size)  # what fits in training fits here
        for start in range(0, len(pictures), size):
            part = pictures[start : start + size]
            batch = {
                key: torch.stack([picture[key] for picture in part]).to(self.accelerator.device) for key in part[0]
            }
            output = model(**batch)
            losses.append(output.loss.item())
            grid = grid or [batch, output.colors]
        loss, progress = sum(losses) / max(1, len(losses)), self.progress
        model.train()
        progress.history.append({"step": progress.step, "held_out_loss": loss})
        self.accelerator.log({"held_out_loss": loss}, step=progress.step)
        tqdm.write(f"step {progress.step}: held-out loss {loss:.4f}")
        if grid:
            self._show(sample_grid(*grid))
        if loss < progress.best:
            progress.best = loss
            self._save_model(model, self.output_dir / "best")

    def _show(self, grid: np.ndarray) -> None:
        """The sample grid as a file, and in every tracker that takes pictures."""
        write_sample_grid(self.output_dir / "samples" / f"step-{self.progress.step:06d}.png", grid)
        for tracker in self.accelerator.trackers:
            if hasattr(tracker, "log_images"):
                order = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({"samples": grid[None]}, step=self.progress.step, **order)

    def _save_model(self, model: nn.Module, folder: Path) -> None:
        """Config, weights and processor, whole or not at all."""
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial)
        self.processor.save_pretrained(partial)
        (partial / "recipe.yaml").write_text(self.recipe.to_yaml())
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)

    def _checkpoints(self) -> list[Path]:
        return sorted((self.output_dir / "checkpoints").glob("step-[0-9]*[0-9]"))

    def _save_checkpoint(self) -> None:
        """The whole state under a temporary name, then renamed; older ones go once the new one is complete."""
        folder = self.output_dir / "checkpoints" / f"step-{self.progress.step:08d}"
        partial = folder.with_name(folder.name + ".partial")
        try:
            self.accelerator.save_state(str(partial), safe_serialization=True)
            if self.accelerator.is_main_process:
                (partial / "recipe.yaml").write_text(self.recipe.to_yaml())
                shutil.rmtree(folder, ignore_errors=True)
                partial.rename(folder)
                for old in self._checkpoints()[: -self.recipe.total_limit]:
                    shutil.rmtree(old)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise OSError(
                f"could not write checkpoint {folder.name} ({error.strerror}); the one before it is untouched"
            ) from error
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        if not self._checkpoints():
            raise ValueError(f"nothing to resume: no checkpoint under {self.output_dir / 'checkpoints'}")
        last = self._checkpoints()[-1]
        changed = self.recipe.differences(Recipe.load(last / "recipe.yaml"))
        if changed:
            raise ValueError(f"{last} was made with another recipe: {'; '.join(changed)}")
        self.accelerator.load_state(str(last))

    def _finish(self, average: AveragedModel) -> Path:
        """The finished model: the best averaged weights seen, its loss curve, and what the run did."""
        folder = self.output_dir / "final"
        if not self.accelerator.is_main_process:
            return folder
        if self.progress.evaluated_at != self.progress.step:
            self._evaluate(average)
        self._save_model(average.module, folder)
        best = self.output_dir / "best"
        if best.is_dir():  # none where no picture is held out
            shutil.copytree(best, folder, dirs_exist_ok=True)
        write_loss_plot(self.output_dir / "loss.png", self.progress.history)
        shutil.copy(self.output_dir / "loss.png", folder)
        (folder / "README.md").write_text(run_card(self.recipe, self.progress, len(self.samples), average.module))
        summary = {key: getattr(self.progress, key) for key in ("step", "best", "seconds", "history")}
        (self.output_dir / "training.json").write_text(json.dumps(summary, indent=1))
        return folder


def _warn_of_slow_precision(accelerator: Accelerator) -> None:
    """bf16 on a processor that has to emulate it: measured at 14 times the time of fp32."""
    instructions = torch.backends.cpu.get_cpu_capability()
    emulated = accelerator.device.type == "cpu" and instructions in ("DEFAULT", "AVX2")
    if accelerator.mixed_precision == "bf16" and emulated:
        warnings.warn(
            f"this processor ({instructions}) has no bf16 instructions, and training is many times slower with bf16 "
            "than without; set mixed_precision=no",
            stacklevel=3,
        )


def _model_class(name: str) -> type[nn.Module]:
    if name == "flow":  # it brings diffusers, an extra
        from .flow import FlowTraining

        return FlowTraining
    return MODELS[name]


def _other_head(source: str, kind: type[nn.Module]) -> type[nn.Module] | None:
    """The class of a finished model whose body is that of `kind` but whose head is not; None for all others."""
    if kind not in MODELS.values():
        return None
    architectures = SketchColorizerConfig.from_pretrained(source).architectures or [None]
    return next((other for other in MODELS.values() if other is not kind and other.__name__ == architectures[0]), None)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def main(recipe_path: str, overrides: list[str] | None = None, *, resume: bool = False) -> Path:
    """Train a recipe; returns the folder of the finished model."""
    return Trainer(Recipe.load(recipe_path, overrides)).fit(resume=resume)
