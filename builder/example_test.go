package builder_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"

	"pix/builder"
	"pix/derivation"
	"pix/localstore"
	"pix/storepath"
)

// A derivation of one shell command is built without a sandbox, into a store in a directory of its own.
func Example() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "pix-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	dir, err := storepath.ParseDir(filepath.Join(root, "store"))
	if err != nil {
		log.Fatal(err)
	}
	s, err := localstore.Open(ctx, &localstore.Options{Dir: dir, StateDir: filepath.Join(root, "state"), LogDir: filepath.Join(root, "log")})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	system := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64", "386": "i686"}[runtime.GOARCH] + "-linux"
	d := &derivation.Derivation{Name: "greeting", Dir: dir, Platform: system, Builder: "/bin/sh", Args: []string{"-c", "echo hello > $out"}}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	if err := d.FillOutputPaths(nil, nil); err != nil {
		log.Fatal(err)
	}
	drv, err := s.AddTextToStore(ctx, "greeting.drv", d.String(), nil)
	if err != nil {
		log.Fatal(err)
	}

	b := builder.New(s, &builder.Options{Sandbox: builder.SandboxNone})
	result, err := b.Build(ctx, &builder.Request{Path: drv, Derivation: d})
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(string(result.Outputs["out"].OutPath))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s", result.Status, text)
	// Output: Built: hello
}
