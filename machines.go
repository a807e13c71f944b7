package pix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"pix/daemon"
	"pix/nixconf"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// openMachine opens the store of a machine on which derivations are built. As in Nix, the machine gets no settings: its own
// apply.
//
// Nix names machines by ssh://HOST, an older protocol without errors and logs in a usable form. Every Nix since 2.0 also serves
// ssh-ng, so pix connects by that one.
func (o *Options) openMachine(ctx context.Context, m *nixconf.Machine) (store.Store, error) {
	others := *o
	others.Substitution, others.Substituters = nil, nil
	var d daemon.Options
	if o.Daemon != nil {
		d = *o.Daemon
	}
	d.Settings, d.MaxConns = nil, int(min(m.MaxJobs, maxMachineConns))
	others.Daemon = &d
	if o.Builds != nil { // the build ends on the machine
		b := *o.Builds
		b.Remote, b.MaxJobs = nil, int(m.MaxJobs)
		others.Builds = &b
	}
	if settings := o.BuildSettings; settings != nil {
		others.BuildSettings = func(ctx context.Context, s store.Store) (*realise.Settings, error) {
			own, err := settings(ctx, s)
			if err != nil {
				return nil, err
			}
			own.Remote, own.AfterBuild, own.MaxJobs = nil, nil, int(m.MaxJobs)
			return own, nil
		}
		others.MaxJobs = int(m.MaxJobs)
	}
	uri := m.URI()
	if rest, ok := strings.CutPrefix(uri, "ssh://"); ok {
		if strings.Contains(rest, "remote-program=") {
			return nil, errors.New("remote-program of ssh:// names nix-store; use ssh-ng:// and the name of a daemon")
		}
		uri = "ssh-ng://" + rest
	}
	s, err := Open(ctx, uri, &others)
	if err != nil {
		return nil, err
	}
	if dir := cmp.Or(o.StoreDir, storepath.DefaultDir); s.Dir() != dir {
		return nil, errors.Join(fmt.Errorf("its store directory is '%s', not '%s'", s.Dir(), dir), s.Close())
	}
	return s, nil
}

// maxMachineConns limits the connections to a machine on which builds run.
const maxMachineConns = 256
