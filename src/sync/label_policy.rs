//! What a pass does about labels: which ones its messages are promised, and when owed ones are set.

use crate::error::{Error, ErrorKind, Result, Side};
use crate::message::DeliveryMethod;
use crate::state::PromisedLabels;
use crate::sync::ledger::Ledger;
use crate::sync::{PassOptions, Target, TargetStatus, labels};

/// What a pass does about labels.
pub(super) struct LabelPolicy {
    promised: Option<PromisedLabels>,
    sets_owed: bool,
}

impl LabelPolicy {
    pub fn new(options: &PassOptions) -> LabelPolicy {
        let promised = PromisedLabels {
            folder: options.target_folder.clone(),
            labels: options.labels.clone(),
        };
        LabelPolicy {
            promised: Some(promised).filter(|it| !it.labels.is_empty()),
            sets_owed: options.sets_labels,
        }
    }

    /// The labels that a message is promised now; an imported one has them from the beginning.
    pub fn promised(&self, method: DeliveryMethod) -> Option<PromisedLabels> {
        self.promised
            .clone()
            .filter(|_| method == DeliveryMethod::Append)
    }

    /// Labels need a target that has them.
    pub fn check_support(&self, status: TargetStatus) -> Result<()> {
        if self.promised.is_none() || status.has_labels {
            return Ok(());
        }
        let what = "this server has no labels (X-GM-EXT-1)";
        let error = Error::new(Side::Gmail, ErrorKind::Config, "gmail", what);
        Err(error.remedy("labels needs Gmail: remove labels from the configuration"))
    }

    /// Says that labels will be needed, if they will.
    pub fn prepare(&self, target: &mut dyn Target) {
        if self.promised.is_some() {
            target.prepare_labels();
        }
    }

    /// Sets what earlier runs could not.
    pub fn set_before_mail(&self, target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
        self.set_meanwhile(labels::set_eagerly, target, ledger)
    }

    /// Sets what is owed between two groups of messages, if that is much.
    pub fn set_if_many(&self, target: &mut dyn Target, ledger: &mut Ledger) -> Result<()> {
        self.set_meanwhile(labels::set_if_many, target, ledger)
    }

    /// Sets what is owed at the end of a pass. Why that failed is a value, unless nothing can be done after
    /// it.
    pub fn set_all(&self, target: &mut dyn Target, ledger: &mut Ledger) -> Result<Result<()>> {
        if self.sets_owed {
            as_value(labels::set_all(target, ledger))
        } else {
            Ok(Ok(()))
        }
    }

    /// Mail does not wait for labels: after a failure, the end of the pass tries again.
    fn set_meanwhile(
        &self,
        set: fn(&mut dyn Target, &mut Ledger) -> Result<()>,
        target: &mut dyn Target,
        ledger: &mut Ledger,
    ) -> Result<()> {
        if !self.sets_owed {
            return Ok(());
        }
        if let Err(error) = as_value(set(target, ledger))? {
            log::debug!("setting labels: {error}; trying again after the mail");
        }
        Ok(())
    }
}

/// Separates what a pass must not go on after, such as a full disk or a limit of Gmail, from another failure
/// to set labels.
fn as_value(set: Result<()>) -> Result<Result<()>> {
    match set {
        Err(error) if error.kind() == ErrorKind::Disk || error.consequence().is_some() => {
            Err(error)
        }
        set => Ok(set),
    }
}
