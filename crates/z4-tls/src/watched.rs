//! Material that follows its files.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{FileError, Files};
use crate::material::Material;

/// Material that is read again when somebody looks, and stays as it is while the files
/// are bad. Cheap to share by an [`Arc`].
pub struct Watched {
    files: Files,
    state: Mutex<State>,
}

struct State {
    material: Arc<Material>,
    generation: u64,
    /// Something was wrong at the last look.
    is_troubled: bool,
    /// The material that the last look found for the first time.
    fresh: Option<Material>,
}

/// The result of a look at the files.
#[derive(Clone, PartialEq, Debug)]
pub enum Looked {
    /// Nothing is new, or it is seen for the first time: a file may be half written, or one
    /// file of two.
    Same,
    /// There is new material.
    New(Arc<Material>),
    /// A file is bad, as one was at the look before, and what was read stays in use.
    Bad(FileError),
}

impl Watched {
    /// Reads the files. Blocks for the reads.
    ///
    /// # Errors
    /// See [`Material::read`].
    pub fn open(files: Files) -> Result<Self, FileError> {
        let material = Arc::new(Material::read(&files)?);
        Ok(Self {
            files,
            state: Mutex::new(State {
                material,
                generation: 1,
                is_troubled: false,
                fresh: None,
            }),
        })
    }

    /// The material that is in use, and its number: it rises with each that is new.
    #[must_use]
    pub fn current(&self) -> (u64, Arc<Material>) {
        let state = self.lock();
        (state.generation, Arc::clone(&state.material))
    }

    /// Reads the files again. Blocks for the reads; to be called every few seconds.
    pub fn look(&self) -> Looked {
        let read = Material::read(&self.files);
        let mut state = self.lock();
        match read {
            Ok(material) => {
                state.is_troubled = false;
                let seen = state.fresh.take();
                if material == *state.material {
                    return Looked::Same;
                }
                if seen.as_ref() != Some(&material) {
                    state.fresh = Some(material);
                    return Looked::Same;
                }
                state.generation += 1;
                state.material = Arc::new(material);
                Looked::New(Arc::clone(&state.material))
            }
            Err(error) => {
                state.fresh = None;
                match std::mem::replace(&mut state.is_troubled, true) {
                    true => Looked::Bad(error),
                    false => Looked::Same,
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
