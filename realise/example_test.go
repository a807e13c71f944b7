package realise_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"pix/builder"
	"pix/derivation"
	"pix/localstore"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// An executor for derivations of "builtin:copy": it adds the variable text as the output. Programs use a
// [builder.Builder] instead.
type copier struct{ store store.Store }

func (c copier) Build(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
	text, _ := req.Derivation.Env.Get("text")
	name, _ := req.Derivation.Env.Get("name")
	path, err := store.AddText(ctx, c.store, name, text, nil)
	if err != nil {
		return nil, err
	}
	return &store.BuildResult{Status: store.Built, Outputs: map[string]store.Realisation{"out": {OutPath: path}}}, nil
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	local, err := localstore.Open(ctx, &localstore.Options{Root: dir})
	if err != nil {
		log.Fatal(err)
	}
	s := realise.New(local, &realise.Options{
		Settings: func(_ context.Context, s store.Store) (*realise.Settings, error) {
			return &realise.Settings{MaxJobs: 1, Executor: copier{s}}, nil
		},
	})
	defer s.Close()

	d := &derivation.Derivation{Name: "greeting", Dir: storepath.DefaultDir, Platform: "builtin", Builder: "builtin:copy"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	for name, value := range map[string]string{"name": "greeting", "text": "hello\n", "out": ""} {
		d.Env.Set(name, value)
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		log.Fatal(err)
	}
	drv, err := store.AddText(ctx, s, "greeting.drv", d.String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	results, err := s.BuildPathsWithResults(ctx, []derivation.DerivedPath{
		derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()},
	}, store.BuildNormal)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		fmt.Println(r.Status, r.Outputs["out"].OutPath.Name())
	}
	// Output: Built greeting
}
