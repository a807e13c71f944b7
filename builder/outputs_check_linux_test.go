package builder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// The conditions that a derivation has for its outputs, with the texts of Nix 2.34.
func TestOutputChecks(t *testing.T) {
	s := newStore(t)
	ref, err := s.AddTextToStore(t.Context(), "refd", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	above, err := s.AddTextToStore(t.Context(), "above", "text", []storepath.Path{ref})
	if err != nil {
		t.Fatal(err)
	}
	json := func(checks string) map[string]string {
		return map[string]string{derivation.StructuredAttrsKey: `{"outputChecks":{"out":{` + checks + `}}}`}
	}
	for _, test := range []struct {
		name string
		env  map[string]string
		out  string // contents; OUT and DEV are the paths
		want string // the text, "" for success
	}{
		{"allowed", map[string]string{"allowedReferences": ""}, "REF", "output 'OUT' is not allowed to refer to the following paths:\n  REF"},
		{"allowedSelf", map[string]string{"allowedReferences": "out"}, "OUT", ""},
		{"allowedNoSelf", map[string]string{"allowedReferences": "dev"}, "OUT DEV", "output 'OUT' is not allowed to refer to the following paths:\n  OUT"},
		{"requisitesSelf", map[string]string{"allowedRequisites": "dev"}, "OUT DEV", ""},
		{"requisites", map[string]string{"allowedRequisites": string(above)}, "ABOVE", "output 'OUT' is not allowed to refer to the following paths:\n  REF"},
		{"badname", map[string]string{"allowedReferences": "foo"}, "", "derivation 'DRV' output check for 'dev' contains output name 'foo', but this is not a valid output of this derivation. (Valid outputs are [dev, out].)"},
		{"disallowed", map[string]string{"disallowedRequisites": string(ref)}, "ABOVE", "output 'OUT' is not allowed to refer to the following paths:\n  REF"},
		{"disallowedDirect", map[string]string{"disallowedReferences": string(ref)}, "ABOVE", ""},
		{"maxsize", json(`"maxSize":3`), "hello\n", "path 'OUT' is too large at 120 bytes; limit is 3 bytes"},
		{"maxclosure", json(`"maxClosureSize":3`), "hello\n", "closure of path 'OUT' is too large at 120 bytes; limit is 3 bytes"},
		{"maxclosureOther", json(`"maxClosureSize":200`), "DEV", "closure of path 'OUT' is too large at 288 bytes; limit is 200 bytes"},
		{"structuredSelf", json(`"allowedRequisites":[]`), "OUT", "output 'OUT' is not allowed to refer to the following paths:\n  OUT"},
	} {
		d := newDerivation(t, test.name, test.env, inputAddressed("out", "dev"))
		f := newFixture(t, s, d)
		f.closure[ref], f.closure[above] = true, true
		paths := strings.NewReplacer("OUT", string(f.output("out").path), "DEV", string(f.output("dev").path), "REF", string(ref), "ABOVE", string(above), "DRV", string(f.req.Path))
		f.write("out", paths.Replace(test.out))
		f.write("dev", "")
		if test.want == "" {
			f.finish()
		} else {
			f.fail(store.OutputRejected, paths.Replace(test.want))
		}
	}
}

// References that the derivation discards are neither registered nor checked, and no reason for a cycle.
func TestDiscardReferences(t *testing.T) {
	s := newStore(t)
	env := map[string]string{derivation.StructuredAttrsKey: `{"unsafeDiscardReferences":{"out":true},"outputChecks":{"out":{"allowedReferences":[]}}}`}
	f := newFixture(t, s, newDerivation(t, "discard", env, inputAddressed("out", "dev")))
	f.write("out", string(f.output("dev").path)+string(f.output("out").path))
	f.write("dev", string(f.output("out").path))
	f.finish()
	if info := f.info(f.output("out").path); len(info.References) != 0 {
		t.Error(info.References)
	}
	if info := f.info(f.output("dev").path); len(info.References) != 1 {
		t.Error(info.References)
	}
}

// An output that is valid already is not made again; the others are, whichever is missing.
func TestPartlyValid(t *testing.T) {
	for _, missing := range []string{"out", "dev", "lib"} {
		for _, sandboxed := range []bool{true, false} {
			s := newStore(t)
			f := newFixture(t, s, newDerivation(t, "partly", nil, inputAddressed("out", "dev", "lib")))
			for _, o := range f.outputs {
				if o.name == missing {
					continue
				}
				o.valid = true
				addValid(t, s, o.path, "valid before")
				if !sandboxed {
					o.scratch = scratchFor(t, f.req.Path, o.name+"-redirected", o.path.Name())
				}
			}
			if !sandboxed {
				f.root = ""
			}
			text := fmt.Sprintf("%s %s %s", f.output("out").scratch, f.output("dev").scratch, f.output("lib").scratch)
			for _, o := range f.outputs {
				f.write(o.name, text)
			}
			outputs, err := f.finishOutputs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !sandboxed { // the caller removes redirected outputs
				for _, o := range f.outputs {
					if o.valid {
						if err := s.RemoveObject(t.Context(), o.scratch); err != nil {
							t.Error(err)
						}
					}
				}
			}
			f.checkStore()
			for _, o := range f.outputs {
				want := "valid before"
				if o.name == missing {
					want = fmt.Sprintf("%s %s %s", f.output("out").path, f.output("dev").path, f.output("lib").path)
				}
				if got := f.contents(o.path); got != want || outputs[o.name].OutPath != o.path {
					t.Errorf("without %s, sandboxed %v: %s is %q, want %q", missing, sandboxed, o.name, got, want)
				}
			}
		}
	}
}

// A check compares outputs, changes none of them, and marks equal ones as made here.
func TestCheckMode(t *testing.T) {
	key, err := signature.GenerateKey("k")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text string
		opts       Options
		kept       bool
	}{
		{"same", "text", Options{}, false},
		{"differs", "other", Options{}, false},
		{"kept", "other", Options{KeepFailed: true}, true},
		{"hook", "other", Options{DiffHook: "hook"}, true},
		{"badhook", "other", Options{DiffHook: "/nonexistent"}, true},
		{"failing hook", "other", Options{DiffHook: "/bin/false"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			f := newFixture(t, s, newDerivation(t, "nd", map[string]string{"n": test.name}, inputAddressed("out")))
			out := f.output("out")
			out.valid = true
			f.req.Mode = store.BuildCheck
			f.opts = &test.opts
			f.opts.SecretKeys = []signature.SecretKey{key}
			f.buildDir = "/the/build/directory"
			if test.name == "hook" {
				f.opts.DiffHook = filepath.Join(t.TempDir(), "hook")
				writeFile(t, f.opts.DiffHook, "#!/bin/sh\npwd\necho \"$@\"; cat \"$2\"", 0o755)
			}
			addValid(t, s, out.path, "text")
			f.write("out", test.text)
			var lines []string
			f.handler = activity.HandlerFunc(func(e activity.Event) {
				if log, ok := e.(activity.Log); ok {
					lines = append(lines, log.Text)
				}
			})
			_, err := f.finishOutputs(t.Context())
			f.checkStore()
			info := f.info(out.path)
			if f.contents(out.path) != "text" {
				t.Error("the valid object has changed")
			}
			if test.name == "same" {
				if err != nil || !info.Ultimate || len(info.Signatures) != 1 {
					t.Errorf("%v, %+v", err, info)
				}
				return
			}
			want := fmt.Sprintf("derivation '%s' may not be deterministic: output \"%s\" differs", f.req.Path, s.ObjectFile(out.path))
			kept := s.ObjectFile(out.path) + ".check"
			if test.kept {
				want += " from \"" + kept + "\""
				if text, err := os.ReadFile(kept); string(text) != "other" {
					t.Error(string(text), err)
				}
			}
			failure, ok := errors.AsType[*Failure](err)
			if !ok || failure.Status != store.NotDeterministic || failure.Message != want || info.Ultimate {
				t.Errorf("%v\nwant %s", err, want)
			}
			switch test.name {
			case "hook":
				if want := fmt.Sprintf("/\n%s %s %s /the/build/directory\nother", out.path, kept, f.req.Path); !slices.Equal(lines, []string{want}) {
					t.Errorf("the hook printed %q, want %q", lines, want)
				}
			case "failing hook":
				if want := `diff hook execution failed: diff-hook program "/bin/false" failed with exit code 1`; !slices.Equal(lines, []string{want}) {
					t.Errorf("%q", lines)
				}
			case "badhook":
				if len(lines) != 1 || !strings.HasPrefix(lines[0], "diff hook execution failed: ") {
					t.Errorf("%q", lines)
				}
			}
		})
	}
}

// A repair replaces damaged outputs, and leaves the others alone.
func TestRepairOutputs(t *testing.T) {
	s := newStore(t)
	f := newFixture(t, s, newDerivation(t, "repair", nil, inputAddressed("out", "dev")))
	f.req.Mode = store.BuildRepair
	out, dev := f.output("out"), f.output("dev")
	addValid(t, s, dev.path, "device")
	addValid(t, s, out.path, "right "+string(dev.path), dev.path)
	if err := errors.Join(os.Chmod(s.ObjectFile(out.path), 0o644), os.WriteFile(s.ObjectFile(out.path), []byte("damaged"), 0o444)); err != nil {
		t.Fatal(err)
	}
	dev.valid = true
	f.write("out", "right "+string(dev.path))
	f.write("dev", "another device")
	f.finish()
	if f.contents(out.path) != "right "+string(dev.path) || f.contents(dev.path) != "device" {
		t.Errorf("out is %q, dev %q", f.contents(out.path), f.contents(dev.path))
	}
}

// Outputs that cannot be registered are not left behind.
func TestUnplace(t *testing.T) {
	s := newStore(t)
	f := newFixture(t, s, newDerivation(t, "unplace", nil, inputAddressed("out", "dev")))
	// A reference that is not valid, since a collector without roots has deleted it.
	gone := storepath.Path("/nix/store/00000000000000000000000000000000-gone")
	f.closure[gone] = true
	f.write("dev", "text")
	f.write("out", string(gone))
	if _, err := f.finishOutputs(t.Context()); err == nil {
		t.Error("registered with a reference that is not valid")
	}
	f.checkStore()
}

// Options that structured attributes replace, or that have the wrong type, have no effect, and the warnings of Nix 2.34.
func TestIgnoredOptions(t *testing.T) {
	for attrs, want := range map[string][]string{
		`{}`:                                  nil,
		`{"maxSize":3}`:                       {"warning: 'structuredAttrs' disables the effect of the top-level attribute 'maxSize'; use 'outputChecks' instead"},
		`{"exportReferencesGraph":{}}`:        nil,
		`{"exportReferencesGraph":["a","b"]}`: {"warning: 'exportReferencesGraph' in structured attrs is not a JSON object, ignoring"},
	} {
		p := openPlace(t)
		_, events, err := p.build(p.script("ignored", "exit 1", func(d *derivation.Derivation) { d.Env.Set(derivation.StructuredAttrsKey, attrs) }))
		if err != nil {
			t.Fatal(err)
		}
		var warnings []string
		for _, e := range events {
			if log, ok := e.(activity.Log); ok && log.Level == activity.LevelWarn {
				warnings = append(warnings, activity.Plain(log.Text))
			}
		}
		if !slices.Equal(warnings, want) {
			t.Errorf("%s: %q", attrs, warnings)
		}
	}
}
