"""A training's progress bar."""

from typing import Any

from ._extras import require


class Bar:
    """A progress bar that counts images."""

    def __init__(self, trainer: Any) -> None:
        tqdm = require("tqdm", "demo", "a progress bar").tqdm
        self.trainer = trainer
        self.bar = tqdm(
            total=trainer.max_iter * trainer.batch_size,
            initial=trainer.current_iter * trainer.batch_size,
            unit="img",
            unit_scale=True,
        )

    def show(self) -> None:
        trainer = self.trainer
        self.bar.set_description(f"epoch {trainer.current_epoch}/{trainer.epochs}", refresh=False)
        shown = {"loss": trainer.train_loss_list, "test_acc": trainer.test_acc_list, "val_loss": trainer.val_loss_list}
        latest = {name: f"{float(values[-1]):.4f}" for name, values in shown.items() if values}
        self.bar.set_postfix(latest, refresh=False)
        self.bar.update(trainer.batch_size)

    def close(self) -> None:
        self.bar.close()
