package realise_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pix/daemon"
	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
)

func init() { builders["submit"] = submit }

// submit adds two objects and submits them as outputs. The second mentions the first and the input. The variable wrong
// names a mistake that it makes.
func submit(ctx context.Context) error {
	c, err := daemon.Dial(ctx, strings.TrimPrefix(os.Getenv("NIX_REMOTE"), "unix://"), &daemon.Options{StoreDir: dir(), Features: protocol.BuildFeatures})
	if err != nil {
		return err
	}
	defer c.Close()
	if want := protocol.BuildFeatures | protocol.RealisationWithPath; c.Features() != want || c.Version() != protocol.MakeVersion(38) {
		return fmt.Errorf("the connection has version %v and the features %v", c.Version(), c.Features())
	}
	input, err := dir().Parse(os.Getenv("input"))
	if err != nil {
		return err
	}
	first, err := addScanned(ctx, c, "submit-dev", storepath.NAR, "first")
	if err != nil {
		return err
	}
	method, text := storepath.NAR, string(first)+" "+string(input)
	if os.Getenv("wrong") == "method" { // which allows no references
		method, text = storepath.Flat, "text"
	}
	second, err := addScanned(ctx, c, "submit", method, text)
	if err != nil {
		return err
	}
	outputs := map[string]storepath.Path{"dev": first, "out": second}
	switch os.Getenv("wrong") {
	case "missing":
		delete(outputs, "out")
	case "unknown":
		outputs["other"] = second
	case "name":
		outputs["out"] = first
	}
	for name, path := range outputs {
		if err := c.SubmitOutput(ctx, derivation.Opaque{Path: path}, name); err != nil {
			return err
		}
	}
	if err := c.SubmitOutput(ctx, derivation.Opaque{Path: first}, "dev"); err == nil {
		return fmt.Errorf("an output was submitted twice")
	}
	secret, err := dir().Parse(os.Getenv("secret"))
	if err != nil {
		return err
	}
	if err := c.SubmitOutput(ctx, derivation.Opaque{Path: secret}, "x"); err == nil {
		return fmt.Errorf("an unknown path was submitted")
	}
	if _, err := c.QueryPathInfo(ctx, first); err == nil || !strings.Contains(err.Error(), "not allowed inside derivation") {
		return fmt.Errorf("querying: %w", err)
	}
	if _, err := os.Lstat(string(first)); err == nil && os.Getenv("sandboxed") != "" {
		return fmt.Errorf("the added path is in the sandbox")
	}
	return nil
}

// addScanned adds a file, and lets the store find its references.
func addScanned(ctx context.Context, c *daemon.Conn, name string, m storepath.Method, text string) (storepath.Path, error) {
	contents := bytes.NewBufferString(text)
	if m == storepath.NAR {
		contents.Reset()
		if err := nar.DumpFS(ctx, contents, fstest.MapFS{"file": {Data: []byte(text), Mode: 0o644}}, "file", nil); err != nil {
			return "", err
		}
	}
	info, err := c.AddToStoreScanning(ctx, name, m, nixhash.SHA256, contents)
	if err != nil {
		return "", err
	}
	return info.Path, nil
}

// submission returns a derivation whose builder submits its outputs.
func (r *recursion) submission(change func(*derivation.Derivation)) derivation.Built {
	return r.derivation("submit", func(d *derivation.Derivation) {
		d.Env.Set("requiredSystemFeatures", "builder-rpc-v0")
		for _, name := range []string{"out", "dev"} {
			d.Outputs.Set(name, derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
			d.Env.Set(name, "")
		}
		if change != nil {
			change(d)
		}
	})
}

// A builder submits outputs whose references the store has found, with the rules of Nix 2.36.
func TestSubmit(t *testing.T) {
	for name := range ways {
		t.Run(name, func(t *testing.T) {
			r := newRecursion(t, name, "rules=2.36")
			info := r.build(r.submission(nil))
			var names []string
			for _, ref := range info.References {
				names = append(names, ref.Name())
			}
			slices.Sort(names)
			if info.Path.Name() != "submit" || !slices.Equal(names, []string{"input", "submit-dev"}) {
				t.Errorf("the output %s refers to %q", info.Path, names)
			}
		})
	}
}

// Wrong submissions reject the outputs, with the texts of Nix.
func TestSubmitWrong(t *testing.T) {
	r := newRecursion(t, "open", "rules=2.36")
	for wrong, want := range map[string]string{
		"missing": "failed to submit output path for 'out'",
		"unknown": "submitted unknown output 'other' (Valid outputs are [dev, out])",
		"name":    "was named 'submit-dev', expected 'submit'",
		"method":  "was hashed with method 'flat', expected 'nar'",
	} {
		drv := r.submission(func(d *derivation.Derivation) { d.Env.Set("wrong", wrong) })
		if _, err := r.try(t.Context(), drv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// The feature needs content-addressed outputs and the rules of Nix 2.36.
func TestSubmitRefused(t *testing.T) {
	r := newRecursion(t, "open", "rules=2.36")
	drv := r.derivation("submit", func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", "builder-rpc-v0") })
	if _, err := r.try(t.Context(), drv); err == nil || !strings.Contains(err.Error(), "may only be used with content-addressing derivations") {
		t.Error(err)
	}
	old := newRecursion(t, "open")
	if _, err := old.try(t.Context(), old.submission(nil)); err == nil || !strings.Contains(err.Error(), "rules=2.36") {
		t.Error(err)
	}
}
