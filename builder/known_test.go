package builder

import (
	"context"
	"os"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Floating outputs that are valid are not built again. A check compares with them, and a repair replaces a damaged one. A
// deleted output is built again, and leaves the other one alone.
func TestKnownFloatingOutputs(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.opts.SystemFeatures = []string{"ca-derivations"}
		req := p.script("known", "echo out $out > $out; echo $out > $dev", func(d *derivation.Derivation) {
			for _, name := range []string{"out", "dev"} {
				d.Outputs.Set(name, derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
				d.Env.Set(name, string(storepath.OwnPlaceholder(name)))
			}
		})
		build := func(what string, mode store.BuildMode, want store.BuildStatus) map[string]store.Realisation {
			t.Helper()
			req.Mode = mode
			result, _, err := p.build(req)
			if err != nil || result.Status != want || len(result.Outputs) != 2 {
				t.Fatalf("%s: %+v, %v", what, result, err)
			}
			p.verify()
			return result.Outputs
		}
		first := build("first", store.BuildNormal, store.Built)
		for what, outputs := range map[string]map[string]store.Realisation{
			"again":  build("again", store.BuildNormal, store.AlreadyValid),
			"check":  build("check", store.BuildCheck, store.Built),
			"repair": build("repair", store.BuildRepair, store.AlreadyValid),
		} {
			if outputs["out"].OutPath != first["out"].OutPath || outputs["dev"].OutPath != first["dev"].OutPath {
				t.Errorf("%s: %v, not %v", what, outputs, first)
			}
		}
		file := p.store.ObjectFile(first["out"].OutPath)
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		p.write(file, "damaged")
		build("repair of a damaged output", store.BuildRepair, store.Built)
		p.store.Close() // which ends its temporary roots
		p.store = openStore(t, p.storeOpts)
		if _, err := p.store.CollectGarbage(context.Background(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{first["dev"].OutPath}, IgnoreLiveness: true}); err != nil {
			t.Fatal(err)
		}
		if outputs := build("a deleted output", store.BuildNormal, store.Built); outputs["dev"].OutPath != first["dev"].OutPath {
			t.Errorf("%v, not %v", outputs, first)
		}
	})
}
