//! ztunnel with a control plane's mesh, and the agent between them. The control plane's stand-in goes away and comes back, and the
//! agent dies, all under load: what ztunnel has stays good, and new rules reach it whoever is away.

use anyhow::{Context as _, Result, ensure};
use tests::control_plane::ControlPlane;
use tests::demo::patience::{Patience, wait_for};

use super::agent_mesh::{Mesh, SWAP_PATIENCE};
use super::mesh::{Family, Pod, SERVICES, service_ip};
use super::stage::{Stage, play, whole_program};
use super::swap::{swap_under_load, waypoints};
use super::told::{behind_waypoint, mesh};
use super::ztunnel::Ztunnel;

/// The agent saves the mesh every half minute.
const SAVED_PATIENCE: Patience = Patience::seconds(60);

/// Everybody of this story.
struct Between<'a> {
    stage: &'a Stage,
    plane: ControlPlane,
    mesh: Mesh,
}

impl Between<'_> {
    /// What happens before and while the rules of a waypoint are put in, by the number of the swap.
    fn step(&mut self, number: usize, to: &Pod, ztunnel: &Ztunnel) -> Result<()> {
        match number {
            0 => self.put("while all are there", to),
            1 => {
                self.plane.go_away();
                self.mesh.wait_upstream("stale")?;
                self.put("while the control plane is away", to)
            }
            2 => {
                println!("the agent dies and starts again while the control plane is away, to {}", to.name);
                self.mesh.restart(to)?;
                self.mesh.wait_upstream("stale")
            }
            3 => {
                self.plane.come_back()?;
                self.mesh.wait_upstream("fresh")?;
                self.put("after the control plane came back", to)?;
                self.tell_one_more("later", ztunnel)
            }
            4 => {
                self.plane.go_away();
                self.mesh.wait_upstream("stale")?;
                self.plane.tell(|mesh| {
                    mesh.addresses.remove("shop/later.shop.svc.cluster.local");
                });
                self.plane.come_back()?;
                self.put("while the control plane comes back with another mesh", to)?;
                self.mesh.wait_upstream("fresh")?;
                wait_for("a service to be gone", SWAP_PATIENCE, || {
                    Ok((!waypoints(&ztunnel.config_dump()?)?.contains_key("later")).then_some(()))
                })
            }
            _ => self.put("once more", to),
        }
    }

    fn put(&mut self, when: &str, to: &Pod) -> Result<()> {
        self.mesh.wait_clients(1)?;
        let taken = self.mesh.put(to)?.as_secs_f64() * 1000.0;
        println!("{when}, to {}: taken up {taken:.1} ms after it was in force", to.name);
        Ok(())
    }

    /// A service that no manifest knows: it is told as the control plane said.
    fn tell_one_more(&mut self, name: &str, ztunnel: &Ztunnel) -> Result<()> {
        let family = self.stage.family();
        let resource = behind_waypoint(family, name, service_ip(family, SERVICES.len()));
        self.plane.tell(|mesh| {
            mesh.addresses.put(resource);
        });
        wait_for("a service that the control plane told", SWAP_PATIENCE, || {
            Ok(waypoints(&ztunnel.config_dump()?)?.contains_key(name).then_some(()))
        })
    }
}

fn between(family: Family) -> Result<()> {
    play(family, whole_program(family), |stage| {
        let plane = ControlPlane::start(family.loopback(), mesh(family))?;
        let flags = plane.flags(stage.ground.folder())?;
        let mut mesh = Mesh::start(stage, family.loopback(), 0, flags)?;
        mesh.wait_upstream("fresh")?;
        let mut ztunnel = mesh.start_ztunnel(stage)?;
        let saved = stage.ground.folder().join("xds/state/mesh.bin");
        wait_for("the mesh to be saved", SAVED_PATIENCE, || Ok(saved.is_file().then_some(())))?;
        let mut between = Between { stage, plane, mesh };
        let mut number = 0;
        let run = swap_under_load(stage, &ztunnel, 6, |to| {
            let step = between.step(number, to, &ztunnel).with_context(|| format!("step {number}"));
            number += 1;
            step
        });
        let run = run.with_context(|| format!("ztunnel: {}", ztunnel.last_words()))?;
        run.print();
        ensure!(run.faults.is_empty(), "{}{}", run.faults, ztunnel.last_words());
        ztunnel.check_running()?;
        between.mesh.stop()
    })
}

/// No connection fails, and no client sees old rules after new ones.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn between_a_control_plane_and_ztunnel_whoever_goes_away() -> Result<()> {
    between(Family::V4)
}

/// The same where nobody has an IPv4 address.
#[test]
#[ignore = "needs WAYSWITCH_ZTUNNEL: cargo xtask e2e ztunnel"]
fn with_ipv6_alone_between_a_control_plane_and_ztunnel() -> Result<()> {
    between(Family::V6)
}
