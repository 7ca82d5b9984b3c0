// SPDX-License-Identifier: Apache-2.0
//! Installing into a directory, again, over edits, and half-way.

use super::{Plan, Step};
use crate::definition::tests::{agent, program};
use crate::init::{Init, Root};
use crate::installed::Installed;
use crate::manager::Manager;
use crate::mark::Standing;
use crate::place::Place;
use crate::{Definition, ServiceError};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn place(image: &TempDir, definition: &Definition, init: Init) -> Place {
    Place { name: definition.name.clone(), init, root: Root::image(image.path()), user_units: None }
}

fn install(definition: &Definition, place: &Place, force: bool) -> Result<Plan, ServiceError> {
    let plan = Plan::install(definition, place, force)?;
    plan.apply(&Manager::new(place.clone())).map(|()| plan)
}

fn uninstall(place: &Place, force: bool) -> Result<Plan, ServiceError> {
    let plan = Plan::uninstall(place, force)?;
    plan.apply(&Manager::new(place.clone())).map(|()| plan)
}

fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

#[test]
fn installing_twice_changes_nothing_and_uninstalling_leaves_nothing() {
    for init in [Init::Systemd, Init::OpenRc, Init::SysV] {
        let image = tempfile::tempdir().unwrap();
        let place = place(&image, &agent(), init);
        assert!(matches!(Plan::uninstall(&place, false), Err(ServiceError::NotInstalled { .. })));
        assert!(!install(&agent(), &place, false).unwrap().steps.is_empty());
        let installed = files(image.path());
        assert_eq!(installed.len(), if init == Init::SysV { 8 } else { 2 }, "{installed:?}");
        assert_eq!(install(&agent(), &place, false).unwrap().steps, []);
        assert_eq!(files(image.path()), installed);
        let known = Installed::read(&place).unwrap();
        assert_eq!((known.is_agent, known.standing), (true, Standing::Ours));
        assert_eq!(known.program, Path::new("/usr/local/bin/purser"));
        assert_eq!(known.fact("config"), Some("/etc/purser/purser.toml"));
        uninstall(&place, false).unwrap();
        assert_eq!(files(image.path()), BTreeSet::new());
    }
}

#[test]
fn what_changed_is_written_again() {
    let image = tempfile::tempdir().unwrap();
    let place = place(&image, &agent(), Init::Systemd);
    install(&agent(), &place, false).unwrap();
    let mut changed = agent();
    changed.description = "Another".to_string();
    let plan = install(&changed, &place, false).unwrap();
    assert!(matches!(plan.steps.as_slice(), [Step::Write { .. }]), "{:?}", plan.steps);
    assert!(fs::read_to_string(place.file()).unwrap().contains("Description=Another"));
}

#[test]
fn an_edited_file_is_not_overwritten_unasked() {
    for init in [Init::Systemd, Init::OpenRc, Init::SysV] {
        let image = tempfile::tempdir().unwrap();
        let place = place(&image, &agent(), init);
        install(&agent(), &place, false).unwrap();
        let edited = fs::read_to_string(place.file()).unwrap() + "# mine\n";
        fs::write(place.file(), &edited).unwrap();
        let error = install(&agent(), &place, false).unwrap_err();
        assert!(
            matches!(error, ServiceError::Edited { .. }) && error.to_string().contains("| diff"),
            "{error}"
        );
        assert!(matches!(Plan::uninstall(&place, false), Err(ServiceError::Edited { .. })));
        assert_eq!(fs::read_to_string(place.file()).unwrap(), edited);
        let plan = install(&agent(), &place, true).unwrap();
        let Some(Step::Backup { path, .. }) = plan.steps.first() else { panic!("{:?}", plan.steps) };
        assert_eq!(fs::read_to_string(path).unwrap(), edited);
        assert_eq!(&place.copies(), std::slice::from_ref(path));
        assert_eq!(Installed::read(&place).unwrap().standing, Standing::Ours);
    }
}

#[test]
fn what_others_made_is_left_alone() {
    let image = tempfile::tempdir().unwrap();
    let place = place(&image, &program(), Init::Systemd);
    fs::create_dir_all(place.file().parent().unwrap()).unwrap();
    fs::write(place.file(), "[Service]\nExecStart=/bin/theirs\n").unwrap();
    for force in [false, true] {
        assert!(matches!(Plan::uninstall(&place, force), Err(ServiceError::Foreign { .. })));
    }
    assert!(matches!(install(&program(), &place, false), Err(ServiceError::Foreign { .. })));
    assert!(matches!(Installed::read(&place), Err(ServiceError::Foreign { .. })));
    assert_eq!(fs::read_to_string(place.file()).unwrap(), "[Service]\nExecStart=/bin/theirs\n");
}

#[test]
fn a_unit_of_a_package_is_not_shadowed_unasked() {
    for directory in ["usr/lib/systemd/system", "lib/systemd/system", "run/systemd/system"] {
        let image = tempfile::tempdir().unwrap();
        let place = place(&image, &program(), Init::Systemd);
        let theirs = image.path().join(directory).join(place.unit());
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, "[Service]\nExecStart=/bin/theirs\n").unwrap();
        let error = install(&program(), &place, false).unwrap_err();
        assert!(
            matches!(error, ServiceError::Shadows { .. }) && error.to_string().contains("--force"),
            "{error}"
        );
        assert_eq!(files(image.path()).len(), 1);
        install(&program(), &place, true).unwrap();
        assert_eq!(install(&program(), &place, false).unwrap().steps, []);
        uninstall(&place, false).unwrap();
        assert_eq!(files(image.path()), BTreeSet::from([theirs]));
    }
}

/// A directory where a link should go: the last step fails, and the ones before it are undone.
#[test]
fn a_failure_leaves_everything_as_it_was() {
    for init in [Init::Systemd, Init::OpenRc, Init::SysV] {
        for before in [None, Some("Another")] {
            let image = tempfile::tempdir().unwrap();
            let place = place(&image, &agent(), init);
            if let Some(description) = before {
                let mut earlier = agent();
                earlier.description = description.to_string();
                install(&earlier, &place, false).unwrap();
            }
            let last = place.links().pop().unwrap().path;
            fs::remove_file(&last).unwrap_or_default();
            fs::create_dir_all(last.join("in the way")).unwrap();
            let (names, unit) = (files(image.path()), fs::read(place.file()).ok());
            let error = install(&agent(), &place, false).unwrap_err();
            assert!(matches!(error, ServiceError::Files { .. }), "{error}");
            assert_eq!((files(image.path()), fs::read(place.file()).ok()), (names, unit), "{init}");
        }
    }
}

#[test]
fn links_a_sysv_tool_numbered_anew_are_found() {
    let image = tempfile::tempdir().unwrap();
    let place = place(&image, &agent(), Init::SysV);
    install(&agent(), &place, false).unwrap();
    for link in place.links() {
        let name = link.path.file_name().unwrap().to_str().unwrap().replace("20", "03");
        fs::rename(&link.path, link.path.with_file_name(name)).unwrap();
    }
    fs::write(image.path().join("etc/rc3.d/S20purser2"), "").unwrap();
    assert_eq!(install(&agent(), &place, false).unwrap().steps, []);
    uninstall(&place, false).unwrap();
    assert_eq!(files(image.path()).len(), 1);
}

#[test]
fn only_systemd_has_services_of_users() {
    let image = tempfile::tempdir().unwrap();
    let mut own = program();
    own.user_service = true;
    let error = Plan::text(&own, &place(&image, &own, Init::SysV)).unwrap_err().to_string();
    assert!(error.contains("--user-service"), "{error}");
}
