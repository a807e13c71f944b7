package server_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// evilPath is a path that an untrusted client tries to make valid.
const evilPath = storepath.Path("/nix/store/00000000000000000000000000000000-evil")

// spelledImport returns an unsigned AddToStoreNar request and its body in frames, after the
// given bytes.
func spelledImport(before []byte) []byte {
	archive := fileNAR("poison")
	b := wire.AppendUint64(before, uint64(protocol.AddToStoreNar))
	b = wire.AppendString(b, string(evilPath))
	b = wire.AppendString(b, "")
	b = wire.AppendString(b, nixhash.Sum(nixhash.SHA256, archive).Base16())
	b = wire.AppendUint64(b, 0)
	b = wire.AppendUint64(b, 0)
	b = wire.AppendUint64(b, uint64(len(archive)))
	b = wire.AppendUint64(b, 0)
	b = wire.AppendUint64(b, 0)
	b = wire.AppendString(b, "")
	b = wire.AppendUint64(b, 0)
	b = wire.AppendUint64(b, 1)
	b = wire.AppendUint64(b, uint64(len(archive)))
	b = append(b, archive...)
	return wire.AppendUint64(b, 0)
}

// evilDerivations are derivations with the output path evilPath that claim to be
// content-addressed.
func evilDerivations() map[string]*derivation.Derivation {
	named := func(outputs ...string) *derivation.Derivation {
		d := &derivation.Derivation{
			Dir: storepath.DefaultDir, Name: "evil", Platform: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", "printf poison > " + string(evilPath)},
		}
		ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("poison")))
		if err != nil {
			panic(err)
		}
		d.Env.Set("outputs", strings.Join(outputs, " "))
		for _, name := range outputs {
			d.Outputs.Set(name, derivation.FixedOutput(ca, evilPath))
			d.Env.Set(name, string(evilPath))
		}
		return d
	}
	honest := named("out") // only the path of the output is wrong
	_, out := honest.Outputs.At(0)
	if path, err := storepath.DefaultDir.FixedOutputPath("evil", out.ContentAddress(), storepath.References{}); err == nil {
		honest.Env.Set("out", string(path))
	}
	floating := named("out")
	floating.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	return map[string]*derivation.Derivation{
		"fixed": named("out"), "fixed, honest variable": honest, "fixed, dev": named("dev"), "fixed, two": named("dev", "out"), "floating": floating,
	}
}

// An untrusted client of the server makes nothing valid in a real daemon that trusts the
// server, except content-addressed objects. Other clients get correct replies.
func TestRealProxyUntrusted(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		text, err := pool.AddTextToStore(t.Context(), "text", "a text", nil)
		if err != nil {
			t.Fatal(err)
		}
		innocent := dial(t, pool, nil)
		check := func(what string) {
			t.Helper()
			for path, want := range map[storepath.Path]bool{text: true, evilPath: false} {
				if reply := must[*protocol.IsValidPathReply](innocent, &protocol.IsValidPathRequest{Path: path}, nil); reply.Valid != want {
					t.Errorf("%s: '%s' is valid: %v", what, path, reply.Valid)
				}
			}
		}
		for name, req := range hostileRequests(t) {
			c := dial(t, pool, nil)
			_, body := importOf(t, "x")
			if name == "AddMultipleToStore" {
				info, _ := importOf(t, "x")
				head, _ := c.params.AppendPathInfo(wire.AppendUint64(nil, 1), info)
				body = append(head, body...)
			}
			if _, err := c.params.AppendRequest(nil, req); err == nil {
				c.ask(req, body)
			}
			c.hangUp()
		}
		check("hostile requests")
		for name, d := range evilDerivations() {
			c := dial(t, pool, nil)
			req := &protocol.BuildDerivationRequest{Path: "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-evil.drv", Derivation: d}
			if _, err := c.params.AppendRequest(nil, req); err != nil {
				t.Logf("%s: %v", name, err)
				continue
			}
			reply, err := c.ask(req, nil)
			if r, ok := reply.(*protocol.BuildDerivationReply); ok && err == nil {
				t.Logf("%s: %v %s", name, r.Result.Status, r.Result.Message)
			} else {
				t.Logf("%s: %v", name, err)
			}
			c.hangUp()
		}
		check("derivations")
		kinds := []protocol.AddToStoreRequest{
			{Name: "x", Method: storepath.Git, Algorithm: nixhash.SHA1},
			{Name: "x", Method: storepath.Flat, Algorithm: nixhash.BLAKE3},
			{Name: "x", Method: storepath.Text, Algorithm: nixhash.SHA512},
			{Name: "x", Method: storepath.NAR, Algorithm: nixhash.SHA256},
		}
		for _, kind := range kinds {
			for _, n := range []int{0, 1, 2, 7, 8, 16, 39, 101, 256, 1001, 1 << 16, 1<<16 + 256} {
				c := dial(t, pool, nil)
				first := kind
				body := spelledImport(bytes.Repeat([]byte{0}, n))
				if n <= 2 {
					body = body[:n]
				}
				c.ask(&first, body)
				if n%2 == 0 { // and continue on the same connection, if it is usable
					go func() {
						p, _ := c.params.AppendRequest(nil, &protocol.AddTempRootRequest{Path: text})
						c.nc.Write(p)
					}()
					c.nc.SetReadDeadline(time.Now().Add(2 * time.Second))
					c.messages()
				}
				c.hangUp()
			}
		}
		check("spelled operations")
		paths, err := pool.QueryAllValidPaths(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		info, _ := importOf(t, "x")
		for _, bad := range []storepath.Path{evilPath, absent, info.Path} {
			if slices.Contains(paths, bad) {
				t.Errorf("'%s' is valid", bad)
			}
		}
		t.Log(fmt.Sprint(len(paths), " paths are valid"))
	})
}
