package realise_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/nixconf"
	"pix/realise"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// buildByChaos builds on a daemon with faults, for at most some time, and checks that every output that became valid is whole.
// It reports whether the build succeeded.
func buildByChaos(t *testing.T, n *network, name string, faults *daemontest.Faults, limit time.Duration) bool {
	t.Helper()
	machine := daemontest.New(t, &daemontest.Options{Faults: *faults, Store: memstore.New(&memstore.Options{Build: func(ctx context.Context, s *memstore.Store, _ storepath.Path, d *derivation.Derivation) error {
		for output, o := range d.Outputs.All() {
			addObject(t, s, o.Path(), d.Name+" "+output)
		}
		return nil
	}})})
	s := realise.New(n.local, &realise.Options{
		Settings: func(ctx context.Context, s store.Store) (*realise.Settings, error) {
			return &realise.Settings{Executor: &executor{n.world, s}, Remote: &n.remote}, nil
		},
		OpenMachine: func(ctx context.Context, m *nixconf.Machine) (store.Store, error) {
			return daemon.Open(ctx, daemon.Unix{Path: machine.Socket()}, &daemon.Options{HandshakeTimeout: limit, DrainTimeout: limit})
		},
	})
	low := n.derive("low-" + name)
	drv := n.derive(name, low)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	results, err := s.BuildPathsWithResults(ctx, []derivation.DerivedPath{out(drv)}, store.BuildNormal)
	if took := time.Since(start); took > limit+time.Minute {
		t.Errorf("%s: it took %v", name, took)
	}
	for _, path := range []storepath.Path{low, drv} {
		outputs, err := store.OutputMap(t.Context(), n.local, path)
		if err != nil {
			t.Fatal(err)
		}
		for output, path := range outputs {
			info, err := n.local.QueryPathInfo(t.Context(), path)
			if err != nil {
				continue
			}
			if size := uint64(len(archiveOf(t, path.Name(), output))); info.NARSize != size || info.Ultimate {
				t.Errorf("%s: %+v is valid", name, info)
			}
		}
	}
	return err == nil && len(results) == 1 && results[0].Status.Succeeded()
}

// archiveOf returns the archive of an output.
func archiveOf(t *testing.T, name, output string) []byte {
	t.Helper()
	if output != "out" {
		name = name[:len(name)-len(output)-1]
	}
	return dumpFile(t, name+" "+output)
}

// A machine that hangs up, is silent, or sends wrong numbers at any point of its answers ends or fails the build, and makes nothing
// valid that is damaged.
func TestMachineChaos(t *testing.T) {
	step := int64(200)
	if os.Getenv("PIX_LONG") != "" {
		step = 8
	}
	n := newNetwork(t, "unix:///machine")
	n.jobs = 0
	succeeded := false
	for i := int64(0); !succeeded && i < 20_000; i += step {
		succeeded = buildByChaos(t, n, fmt.Sprint("cut", i), &daemontest.Faults{CutAfter: i + 1}, time.Minute)
	}
	if !succeeded {
		t.Error("no build succeeds")
	}
	for i := int64(0); i < 4000; i += 4 * step {
		buildByChaos(t, n, fmt.Sprint("read", i), &daemontest.Faults{CutReadAfter: i + 1}, time.Minute)
		buildByChaos(t, n, fmt.Sprint("silent", i), &daemontest.Faults{SilentAfter: i + 1}, 100*time.Millisecond)
	}
	for i := int64(0); i < 6000; i += step {
		offset := i / 8 * 8
		for _, value := range []uint64{0, 1 << 62} {
			buildByChaos(t, n, fmt.Sprint("lie", i, "-", value), &daemontest.Faults{Overwrite: map[int64]uint64{offset: value}}, 2*time.Second)
		}
	}
}
