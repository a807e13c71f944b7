package builder

import (
	"fmt"

	"pix/internal/activebuilds"
	"pix/store"
)

// track makes the build visible to other processes, which can list the running builds of the store. The build goes on
// without it, for example on a full disk.
func (b *build) track(pid int) {
	tracked, err := activebuilds.Track(b.store.StateDir(), store.ActiveBuild{
		Derivation: b.req.Path, Start: b.started, PID: pid, User: store.User{UID: b.owner.uid}, Cgroup: b.cgroup,
	})
	if err != nil {
		b.warn(fmt.Sprintf("cannot list the build of '%s': %v", b.req.Path, err))
	}
	b.tracked = tracked
}

// setPhase records the phase that the builder has reported.
func (b *build) setPhase(phase string) {
	if err := b.tracked.SetPhase(phase); err != nil {
		b.warn(fmt.Sprintf("cannot list the phase of '%s': %v", b.req.Path, err))
	}
}

// untrack ends the visibility of the build.
func (b *build) untrack() {
	if err := b.tracked.Close(); err != nil {
		b.warn(fmt.Sprintf("cannot remove the build of '%s' from the list of running builds: %v", b.req.Path, err))
	}
	b.tracked = nil
}

// A trackedLog is the log of a build that is tracked while its process runs. It implements [sandbox.StartWatcher].
type trackedLog struct {
	*buildLog
	build *build
}

// Started tracks the build.
func (l trackedLog) Started(pid int) { l.build.track(pid) }
