package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/daemontest"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

func TestMain(m *testing.M) {
	if err := testenv.ForgetMachine(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// tour runs the program, and returns its output.
func tour(t *testing.T, uri string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), uri, args, &out); err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return out.String()
}

// closureOf adds texts that refer to each other, and returns the path of the last one.
func closureOf(t *testing.T, s store.Store, version string) storepath.Path {
	t.Helper()
	lib, err := store.AddText(t.Context(), s, "lib-"+version, version, nil)
	if err != nil {
		t.Fatal(err)
	}
	system, err := store.AddText(t.Context(), s, "system", string(lib), []storepath.Path{lib})
	if err != nil {
		t.Fatal(err)
	}
	return system
}

func TestTour(t *testing.T) {
	d := daemontest.New(t, nil)
	uri := "unix://" + d.Socket()
	before, after := closureOf(t, d.Store, "1.0"), closureOf(t, d.Store, "2.0")
	got := tour(t, uri, "sizes", string(before))
	if strings.Count(got, "\n") != 3 || !strings.Contains(got, "       168        288  "+string(before)+"\n") || !strings.HasSuffix(got, "\n       288 total\n") {
		t.Errorf("sizes: %s", got)
	}
	got = tour(t, uri, "diff", string(before), string(after))
	if !strings.Contains(got, "lib: 1.0 -> 2.0, +0 bytes\n") || !strings.HasSuffix(got, "2 paths removed, 2 added, 288 -> 288 bytes\n") {
		t.Errorf("diff: %s", got)
	}
	file := filepath.Join(t.TempDir(), "hello.txt")
	if err := os.WriteFile(file, []byte("hello world"), 0o666); err != nil {
		t.Fatal(err)
	}
	// nix-store --add of Nix 2.34 prints this path.
	if got := tour(t, uri, "add", file); got != "/nix/store/9833pw3cj8paw1plnya839qnikx9jjcd-hello.txt, 128 bytes\n" {
		t.Errorf("add: %s", got)
	}
	if err := run(t.Context(), uri, []string{"unknown"}, io.Discard); err == nil || !strings.HasPrefix(err.Error(), "usage:") {
		t.Errorf("an unknown word: %v", err)
	}
}

// greeting returns a derivation that writes the variable message to its output.
func greeting() *derivation.Derivation {
	d := &derivation.Derivation{Name: "greeting", Platform: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", "echo $message > $out"}}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("message", "hello")
	d.Env.Set("out", "")
	return d
}

// The daemon builds the derivation with the changed variable.
func TestRebuild(t *testing.T) {
	build := func(ctx context.Context, s *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
		out, _ := d.Outputs.Get("out")
		if message, _ := d.Env.Get("message"); message != "goodbye" {
			return errors.New("the variable is " + message)
		}
		object, err := store.ImportText("/nix/store", "x", "goodbye\n", nil)
		if err != nil {
			return err
		}
		info := &store.PathInfo{Path: out.Path(), NARHash: object.Info.NARHash, NARSize: object.Info.NARSize}
		return s.AddToStoreNAR(ctx, info, object.NAR, &store.AddOptions{NoSignatures: true})
	}
	d := daemontest.New(t, &daemontest.Options{Store: memstore.New(&memstore.Options{Build: build})})
	path, err := store.AddDerivation(t.Context(), d.Store, greeting())
	if err != nil {
		t.Fatal(err)
	}
	got := tour(t, "unix://"+d.Socket(), "rebuild", string(path), "message", "goodbye")
	out, ok := strings.CutPrefix(strings.TrimSpace(got), "out ")
	if !ok {
		t.Fatalf("rebuild: %s", got)
	}
	if valid, err := d.Store.IsValidPath(t.Context(), storepath.Path(out)); !valid || err != nil {
		t.Errorf("the output %q: valid %v, %v", out, valid, err)
	}
}

// Real Nix builds the derivation, and adds a file as the same path.
func TestReal(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		uri := "unix://" + d.Socket
		drv := strings.TrimSpace(d.MustRun(t, "nix-instantiate", "--expr",
			`derivation { name = "greeting"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo $message > $out" ]; message = "hello"; }`))
		got := tour(t, uri, "rebuild", drv, "message", "goodbye")
		out, _ := strings.CutPrefix(strings.TrimSpace(got), "out ")
		text, err := os.ReadFile(d.HostPath(out))
		if err != nil || string(text) != "goodbye\n" {
			t.Errorf("the output %s is %q, %v", out, text, err)
		}
		file := d.HostPath("/tmp/hello.txt")
		if err := os.WriteFile(file, []byte("hello world"), 0o666); err != nil {
			t.Fatal(err)
		}
		added, want := tour(t, uri, "add", file), strings.TrimSpace(d.MustRun(t, "nix-store", "--add", "/tmp/hello.txt"))
		if !strings.HasPrefix(added, want+",") {
			t.Errorf("add: %s, Nix has %s", added, want)
		}
	})
}
