package builder

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// builtinRequest returns a derivation that a builtin builds.
func (p *place) builtinRequest(name, builtin string, sources []storepath.Path, env map[string]string, fixed nixhash.Hash) *Request {
	p.t.Helper()
	return p.script(name, "", func(d *derivation.Derivation) {
		d.Platform, d.Builder, d.Args = "builtin", builtinPrefix+builtin, nil
		for _, source := range sources {
			d.InputSources.Add(source)
		}
		for key, value := range env {
			d.Env.Set(key, value)
		}
		if !fixed.IsZero() {
			ca, err := storepath.NewContentAddress(storepath.Flat, fixed)
			if err != nil {
				p.t.Fatal(err)
			}
			d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
		}
	})
}

// addTree adds a directory with files to the store. A file whose text begins with "->" is a symlink.
func (p *place) addTree(name string, files map[string]string) storepath.Path {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), name)
	for file, text := range files {
		file = filepath.Join(dir, file)
		if target, ok := strings.CutPrefix(text, "->"); ok {
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.Symlink(target, file)); err != nil {
				p.t.Fatal(err)
			}
			continue
		}
		writeFile(p.t, file, text, 0o644)
	}
	return p.addFile(name, storepath.NAR, dumped(p.t, dir))
}

func (p *place) addFile(name string, m storepath.Method, contents []byte) storepath.Path {
	p.t.Helper()
	info, err := p.store.AddToStore(p.t.Context(), name, m, nixhash.SHA256, nil, bytes.NewReader(contents), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return info.Path
}

// The builtins run where builders run. An environment refers to its packages.
func TestBuildenvBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		a := p.addTree("a", map[string]string{"bin/one": "a", "bin/dangling": "->/nowhere/at/all", "share/x": ""})
		b := p.addTree("b", map[string]string{"bin/two": "b", "share/y": ""})
		manifest := p.addFile("manifest", storepath.Flat, []byte("manifest"))
		sources := []storepath.Path{a, b, manifest}
		req := p.builtinRequest("env", "buildenv", sources, map[string]string{"derivations": fmt.Sprintf("true 5 1 %s true 5 1 %s", a, b), "manifest": string(manifest)}, nixhash.Hash{})
		result, events, err := p.build(req)
		if err != nil || result.Status != store.Built {
			t.Fatalf("%+v, %v", result, err)
		}
		out := result.Outputs["out"].OutPath
		for name, want := range map[string]string{"share/x": string(a) + "/share/x", "share/y": string(b) + "/share/y", "bin/one": string(a) + "/bin/one", "bin/two": string(b) + "/bin/two", "manifest.nix": string(manifest)} {
			if target, err := os.Readlink(filepath.Join(p.store.ObjectFile(out), name)); target != want || err != nil {
				t.Errorf("%s leads to %s, %v", name, target, err)
			}
		}
		if info, err := p.store.QueryPathInfo(t.Context(), out); err != nil || !slices.Equal(info.References, sorted(sources...)) {
			t.Errorf("%+v, %v", info, err)
		}
		if want := fmt.Sprintf("warning: skipping dangling symlink '%s/bin/dangling'", out); !slices.Contains(messagesOf(events), want) {
			t.Errorf("%q is not reported: %q", want, messagesOf(events))
		}
		c := p.addTree("c", map[string]string{"bin/one": "c"})
		req = p.builtinRequest("conflict", "buildenv", []storepath.Path{a, c, manifest}, map[string]string{"derivations": fmt.Sprintf("true 5 1 %s true 5 1 %s", a, c), "manifest": string(manifest)}, nixhash.Hash{})
		first, second := a, c
		if first > second {
			first, second = second, first
		}
		result, events, err = p.build(req)
		want := fmt.Sprintf("error: Unable to build profile. There is a conflict for the following files:\n\n         \"%s/bin/one\"\n         \"%s/bin/one\"", first, second)
		if err != nil || result.Status != store.PermanentFailure || !strings.HasSuffix(strings.Join(linesOf(events), "\n"), want) {
			t.Errorf("%+v, %v, %q", result, err, linesOf(events))
		}
		p.verify()
	})
}

func TestUnpackChannelBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		if err := w.WriteHeader(&tar.Header{Name: "nixos-1.2/file", Typeflag: tar.TypeReg, Size: 4, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "text")
		w.Close()
		src := p.addFile("src.tar", storepath.Flat, archive.Bytes())
		file := p.mustBuild(p.builtinRequest("chan", "unpack-channel", []storepath.Path{src}, map[string]string{"channelName": "nixos", "src": string(src)}, nixhash.Hash{}))
		if text, err := os.ReadFile(filepath.Join(file, "nixos/file")); string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		p.verify()
	})
}

// A download sees the network, and of the files of this machine only those that a builder sees.
func TestFetchurlBuild(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "secret" {
			io.WriteString(w, "contents")
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	both(t, func(t *testing.T, p *place) {
		hash := nixhash.Sum(nixhash.SHA256, []byte("contents"))
		p.opts.Netrc = []byte("machine 127.0.0.1 login me password secret")
		file := p.mustBuild(p.builtinRequest("f", "fetchurl", nil, map[string]string{"url": server.URL + "/f"}, hash))
		if text, err := os.ReadFile(file); string(text) != "contents" {
			t.Errorf("%q, %v", text, err)
		}
		if p.opts.Sandbox != SandboxAll {
			return
		}
		secret := filepath.Join(t.TempDir(), "secret")
		writeFile(t, secret, "contents", 0o600)
		req := p.builtinRequest("secret", "fetchurl", nil, map[string]string{"url": "file://" + secret}, hash)
		result, events, err := p.build(req)
		out, _ := req.Derivation.Outputs.Get("out")
		want := fmt.Sprintf("error:\n       … writing file \"%s\"\n\n       error: unable to download 'file://%s': Could not read a file:// file (37) Could not open file %s", out.Path(), secret, secret)
		if err != nil || result.Status == store.Built || strings.Join(linesOf(events), "\n") != want {
			t.Errorf("%+v, %v\n%q\nwant %q", result, err, strings.Join(linesOf(events), "\n"), want)
		}
	})
}
