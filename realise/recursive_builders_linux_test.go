package realise_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing/fstest"
	"time"

	"pix/daemon"
	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// builders are the functions that builders run, by name.
var builders = map[string]func(context.Context) error{
	"inner":       inner,
	"sleep":       func(context.Context) error { time.Sleep(time.Hour); return nil },
	"use":         use,
	"secret":      secret,
	"deeper":      deeper,
	"parallel":    parallelBuilds,
	"connections": connections,
	"leave":       leave,
	"same":        sameOutput,
	"keep":        keepPath,
	"refused":     refused,
	"adds":        adds,
}

// inner is a builder that does not use the store. It prints the text of its variable text to its output.
func inner(context.Context) error {
	return os.WriteFile(os.Getenv("out"), []byte(os.Getenv("text")), 0o644)
}

func dir() storepath.Dir { return storepath.Dir(os.Getenv("NIX_STORE")) }

// dial connects to the store of the builder.
func dial(ctx context.Context) (*daemon.Conn, error) {
	return daemon.Dial(ctx, strings.TrimPrefix(os.Getenv("NIX_REMOTE"), "unix://"), &daemon.Options{StoreDir: dir()})
}

// derivationFor returns a derivation whose builder runs a function. vars are names and values of variables.
func derivationFor(function, name string, sources []storepath.Path, vars ...string) *derivation.Derivation {
	d := &derivation.Derivation{Name: name, Dir: dir(), Platform: os.Getenv("system"), Builder: os.Getenv("program")}
	d.InputSources = derivation.SetOf(sources...)
	d.Outputs.Set("out", derivation.DeferredOutput())
	for _, name := range []string{"system", "program", "PATH", "secret", "input"} {
		d.Env.Set(name, os.Getenv(name))
	}
	d.Env.Set("test", function)
	d.Env.Set("GORACE", "atexit_sleep_ms=0")
	d.Env.Set("out", "")
	for i := 0; i < len(vars); i += 2 {
		d.Env.Set(vars[i], vars[i+1])
	}
	return d
}

// add adds a derivation to the store of the builder.
func add(ctx context.Context, c *daemon.Conn, d *derivation.Derivation) (drv derivation.DerivedPath, err error) {
	if kind, err := d.Kind(); err == nil && kind == derivation.Deferred {
		if err := d.FillOutputPaths(nil, nil); err != nil {
			return nil, err
		}
	}
	path, err := c.AddTextToStore(ctx, d.Name+".drv", d.String(), d.References().Slice())
	return derivation.Built{Drv: derivation.Opaque{Path: path}, Outputs: derivation.NamedOutputs("out")}, err
}

// build builds a derivation, and returns its output.
func build(ctx context.Context, c *daemon.Conn, d *derivation.Derivation) (storepath.Path, error) {
	drv, err := add(ctx, c, d)
	if err != nil {
		return "", err
	}
	results, err := c.BuildPathsWithResults(ctx, []derivation.DerivedPath{drv}, store.BuildNormal)
	if err != nil {
		return "", err
	}
	if len(results) != 1 || !results[0].Status.Succeeded() {
		return "", fmt.Errorf("building %s: %+v", d.Name, results)
	}
	return results[0].Outputs["out"].OutPath, nil
}

// use adds a path and builds a derivation, and refers to both from its output.
func use(ctx context.Context) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	added, err := c.AddTextToStore(ctx, "added", "added", nil)
	if err != nil {
		return err
	}
	if text, err := os.ReadFile(string(added)); err != nil || string(text) != "added" {
		return fmt.Errorf("the added path is not there: %q, %v", text, err)
	}
	out, err := build(ctx, c, derivationFor("inner", "inner", []storepath.Path{added}, "text", string(added)))
	if err != nil {
		return err
	}
	if text, err := os.ReadFile(string(out)); err != nil || string(text) != string(added) {
		return fmt.Errorf("the built path is not there: %q, %v", text, err)
	}
	if err := os.WriteFile(string(out), nil, 0o644); err == nil && os.Getenv("sandboxed") != "" {
		return errors.New("the built path can be changed")
	}
	info, err := c.QueryPathInfo(ctx, out)
	if err != nil || info.Deriver != "" || info.Ultimate || !info.RegistrationTime.IsZero() && info.RegistrationTime.Unix() != 0 || len(info.Signatures) > 0 {
		return fmt.Errorf("the info of the built path: %+v, %v", info, err)
	}
	all, err := c.QueryAllValidPaths(ctx)
	if err != nil || len(all) != 4 { // the input, the added path, the inner derivation and its output
		return fmt.Errorf("the builder sees %v, %v", all, err)
	}
	return os.WriteFile(os.Getenv("out"), []byte(added+" "+out), 0o644)
}

// secret tries to learn something of a valid path that is not an input.
func secret(ctx context.Context) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	path, err := dir().Parse(os.Getenv("secret"))
	if err != nil {
		return err
	}
	input, err := dir().Parse(os.Getenv("input"))
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := nar.DumpFS(ctx, &archive, fstest.MapFS{"file": {Data: []byte("guess"), Mode: 0o644}}, "file", nil); err != nil {
		return err
	}
	hash := nixhash.Sum(nixhash.SHA256, archive.Bytes())
	ca, err := storepath.NewContentAddress(storepath.Text, nixhash.Sum(nixhash.SHA256, []byte("secret"))) // the builder knows the hash, and not the text
	if err != nil {
		return err
	}
	undeclared := derivationFor("inner", "undeclared", []storepath.Path{path})
	drv, err := c.AddTextToStore(ctx, "undeclared.drv", withPaths(undeclared).String(), nil)
	attempts := map[string]func() error{
		"info":    func() error { _, err := c.QueryPathInfo(ctx, path); return err },
		"archive": func() error { _, err := store.ReadNAR(ctx, c, path); return err },
		"ensure":  func() error { return c.EnsurePath(ctx, path) },
		"build": func() error {
			return c.BuildPaths(ctx, []derivation.DerivedPath{derivation.Opaque{Path: path}}, store.BuildNormal)
		},
		"hash": func() error { _, err := c.QueryPathFromHashPart(ctx, path.HashPart()); return err },
		"text": func() error {
			_, err := c.AddTextToStore(ctx, "text", string(path), []storepath.Path{path})
			return err
		},
		"content": func() error {
			_, err := c.AddToStore(ctx, "x", storepath.NAR, nixhash.SHA256, []storepath.Path{path}, bytes.NewReader(archive.Bytes()), nil)
			return err
		},
		"guess": func() error {
			return c.AddToStoreNAR(ctx, &store.PathInfo{Path: path, NARHash: hash, NARSize: uint64(archive.Len()), CA: ca}, bytes.NewReader(archive.Bytes()), nil)
		},
		"input": func() error {
			_, err := build(ctx, c, derivationFor("inner", "leak", []storepath.Path{input, path}))
			return err
		},
		"undeclared input": func() error {
			if err != nil {
				return err
			}
			return c.BuildPaths(ctx, []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}, store.BuildNormal)
		},
		"output": func() error {
			d := derivationFor("inner", "forged", nil)
			d.Outputs.Set("out", derivation.InputAddressedOutput(path))
			d.Env.Set("out", string(path))
			_, err := build(ctx, c, d)
			return err
		},
		"build of an unknown derivation": func() error {
			drv, err := dir().TextPath("unknown.drv", nixhash.Sum(nixhash.SHA256, nil), nil)
			if err != nil {
				return nil
			}
			return c.BuildPaths(ctx, []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}, store.BuildNormal)
		},
	}
	for name, attempt := range attempts {
		if err := attempt(); err == nil {
			return fmt.Errorf("the attempt %q succeeded", name)
		} else {
			fmt.Printf("%s: %v\n", name, err)
		}
		if c.Err() != nil {
			if c, err = dial(ctx); err != nil {
				return err
			}
		}
		if valid, err := c.IsValidPath(ctx, path); err != nil || valid {
			return fmt.Errorf("after the attempt %q the path is valid: %v, %v", name, valid, err)
		}
	}
	missing, err := c.QueryMissing(ctx, []derivation.DerivedPath{derivation.Opaque{Path: path}})
	if err != nil || len(missing.Unknown) != 1 {
		return fmt.Errorf("the missing paths are %+v, %v", missing, err)
	}
	if text, err := os.ReadFile(string(path)); err == nil && os.Getenv("sandboxed") != "" {
		return fmt.Errorf("the builder can read %q", text)
	}
	return os.WriteFile(os.Getenv("out"), []byte(path), 0o644)
}

func withPaths(d *derivation.Derivation) *derivation.Derivation {
	if err := d.FillOutputPaths(nil, nil); err != nil {
		panic(err)
	}
	return d
}

// deeper builds a derivation whose builder does the same, as many times as the variable depth says.
func deeper(ctx context.Context) error {
	depth, err := strconv.Atoi(os.Getenv("depth"))
	if err != nil {
		return err
	}
	text := "bottom"
	if depth > 0 {
		c, err := dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		out, err := build(ctx, c, derivationFor("deeper", "deeper", nil, "depth", strconv.Itoa(depth-1), "requiredSystemFeatures", "recursive-nix"))
		if err != nil {
			return err
		}
		text = string(out)
	}
	return os.WriteFile(os.Getenv("out"), []byte(text), 0o644)
}

// parallelBuilds builds several derivations at once, on several connections.
func parallelBuilds(ctx context.Context) error {
	errs := make(chan error)
	for i := range 4 {
		go func() {
			c, err := dial(ctx)
			if err == nil {
				defer c.Close()
				_, err = build(ctx, c, derivationFor("inner", fmt.Sprint("inner", i), nil, "text", fmt.Sprint(i)))
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			return err
		}
	}
	return inner(ctx)
}

// connections opens more connections than a builder may have, sends garbage on some, and then uses the store.
func connections(ctx context.Context) error {
	var open []net.Conn
	for i := range 1000 {
		nc, err := net.Dial("unix", strings.TrimPrefix(os.Getenv("NIX_REMOTE"), "unix://"))
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		open = append(open, nc)
		if i%2 == 0 {
			garbage := make([]byte, 1<<10)
			rand.Read(garbage)
			_, _ = nc.Write(garbage)
		}
	}
	for _, nc := range open {
		nc.Close()
	}
	for { // the server may not have seen the end of all of them
		err := use(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// leave ends while a build that it asked for runs, and while a connection is open.
func leave(ctx context.Context) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	go func() { _, _ = build(ctx, c, derivationFor("sleep", "sleep", nil)) }()
	time.Sleep(300 * time.Millisecond)
	return inner(ctx)
}

// sameOutput builds another derivation with the same output, which its own build keeps locked.
func sameOutput(ctx context.Context) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	d := derivationFor("inner", os.Getenv("name"), nil, "text", "text")
	fixed, err := fixedOutput("text")
	if err != nil {
		return err
	}
	d.Outputs.Set("out", fixed)
	if err := d.FillOutputPaths(nil, nil); err != nil {
		return err
	}
	_, err = build(ctx, c, d)
	if err == nil || !strings.Contains(err.Error(), "builds the same outputs") {
		return fmt.Errorf("building the same output: %w", err)
	}
	return inner(ctx)
}

func fixedOutput(text string) (derivation.Output, error) {
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte(text)))
	return derivation.FixedOutput(ca, ""), err
}

// keepPath adds a path, prints that, and expects the path to stay.
func keepPath(ctx context.Context) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	path, err := c.AddTextToStore(ctx, "kept", "kept", nil)
	if err != nil {
		return err
	}
	c.Close()
	fmt.Println("added", path)
	time.Sleep(300 * time.Millisecond)
	text, err := os.ReadFile(string(path))
	if err != nil {
		return err
	}
	return os.WriteFile(os.Getenv("out"), append(text, path...), 0o644)
}

// refused tries what a builder may not do.
func refused(ctx context.Context) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	input, err := dir().Parse(os.Getenv("input"))
	if err != nil {
		return err
	}
	attempts := map[string]func() error{
		"unsupported build mode": func() error {
			return c.BuildPaths(ctx, []derivation.DerivedPath{derivation.Opaque{Path: input}}, store.BuildCheck)
		},
		"addSignatures": func() error { return store.AddSignatures(ctx, c, input, []string{"x:eHg="}) },
		"buildDerivation": func() error {
			d := derivationFor("inner", "basic", nil)
			fixed, err := fixedOutput("x")
			if err != nil {
				return err
			}
			d.Outputs.Set("out", fixed)
			path, err := withPaths(d).Path()
			if err != nil {
				return err
			}
			_, err = c.BuildDerivation(ctx, path, d, store.BuildNormal)
			return err
		},
		"queryPathFromHashPart": func() error { _, err := c.QueryPathFromHashPart(ctx, input.HashPart()); return err },
		"output map for unknown path": func() error {
			_, err := c.QueryDerivationOutputMap(ctx, storepath.Path(strings.Replace(string(input), input.HashPart(), strings.Repeat("0", 32), 1)))
			return err
		},
	}
	for want, attempt := range attempts {
		if err := attempt(); err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("%q: %w", want, err)
		}
		if c.Err() != nil {
			if c, err = dial(ctx); err != nil {
				return err
			}
		}
	}
	if _, err := store.CollectGarbage(ctx, c, store.GCOptions{Action: store.GCDeleteDead}); err != nil {
		return err
	}
	if roots, err := store.Roots(ctx, c); err != nil || len(roots) > 0 {
		return fmt.Errorf("the roots are %v, %v", roots, err)
	}
	return inner(ctx)
}

// adds adds the same paths on several connections at once.
func adds(ctx context.Context) error {
	errs := make(chan error)
	for range 4 {
		go func() {
			c, err := dial(ctx)
			if err == nil {
				defer c.Close()
			}
			for i := 0; i < 100 && err == nil; i++ {
				var path storepath.Path
				if path, err = c.AddTextToStore(ctx, "added", strconv.Itoa(i), nil); err == nil {
					_, err = os.ReadFile(string(path))
				}
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			return err
		}
	}
	return inner(ctx)
}
