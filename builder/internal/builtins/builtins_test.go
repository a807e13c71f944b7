package builtins

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pix/internal/compression"
	"pix/nar"
)

// write makes a file and the directories above it.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.Symlink(target, name)); err != nil {
		t.Fatal(err)
	}
}

// list lists the files below a directory, with the targets of links. T stands for the directory tmp.
func list(t *testing.T, dir, tmp string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := ""
		if d.Type()&fs.ModeSymlink != 0 {
			target, err = os.Readlink(name)
		}
		fmt.Fprintln(&b, strings.TrimSpace(strings.ReplaceAll(name+" -> "+target, tmp, "T")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The environment is the one that Nix 2.34.8 makes of the same packages.
func TestBuildenv(t *testing.T) {
	tmp := t.TempDir()
	a, b, c, manifest := tmp+"/a", tmp+"/b", tmp+"/c", tmp+"/manifest"
	write(t, a+"/bin/one", "a")
	link(t, "/nowhere/at/all", a+"/bin/dangling")
	write(t, a+"/share/x", "")
	write(t, a+"/.hidden", "")
	write(t, a+"/nix-support/propagated-user-env-packages", c+" \n")
	write(t, b+"/bin/one", "b")
	write(t, b+"/bin/two", "b")
	write(t, b+"/share/y", "")
	write(t, b+"/share/info/dir", "")
	write(t, b+"/log", "")
	write(t, c+"/share/x", "c")
	write(t, c+"/only/z", "c")
	write(t, manifest, "")
	for _, test := range []struct{ name, derivations, err string }{
		{"priorities", "true 5 1 A true 7 1 B false 1 1 T/missing", ""},
		{"conflict", "true 5 1 A true 5 1 B", "Unable to build profile. There is a conflict for the following files:\n\n         \"A/bin/one\"\n         \"B/bin/one\""},
		{"malformed", "true 5 2 A", errMalformed.Error()},
	} {
		out := filepath.Join(tmp, "out-"+test.name)
		paths := strings.NewReplacer("A", a, "B", b, "T", tmp)
		var log bytes.Buffer
		err := indented(buildenv(t.Context(), &Input{
			Env:     map[string]string{"derivations": paths.Replace(test.derivations), "manifest": manifest},
			Outputs: map[string]string{"out": out},
		}, &logger{w: &log}))
		if test.err != "" {
			if want := strings.NewReplacer("A/", a+"/", "B/", b+"/").Replace(test.err); err == nil || err.Error() != want {
				t.Errorf("%s: %v\nwant %s", test.name, err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		const want = `T/out-priorities ->
T/out-priorities/bin ->
T/out-priorities/bin/one -> T/a/bin/one
T/out-priorities/bin/two -> T/b/bin/two
T/out-priorities/manifest.nix -> T/manifest
T/out-priorities/only -> T/c/only
T/out-priorities/share ->
T/out-priorities/share/info -> T/b/share/info
T/out-priorities/share/x -> T/a/share/x
T/out-priorities/share/y -> T/b/share/y
`
		if got := list(t, out, tmp); got != want {
			t.Errorf("%s", got)
		}
		if want := fmt.Sprintf("@nix {\"action\":\"msg\",\"level\":1,\"msg\":\"warning: skipping dangling symlink '%s/bin/dangling'\"}\n", out); log.String() != want {
			t.Errorf("the log is %q, want %q", log.String(), want)
		}
	}
}

// Directories and files of one name are a collision.
func TestBuildenvCollision(t *testing.T) {
	for i, order := range []string{"true 5 1 F true 6 1 D", "true 5 1 D true 6 1 F", "true 5 1 D true 5 1 E true 6 1 F"} {
		tmp := t.TempDir()
		write(t, tmp+"/f/name", "")
		write(t, tmp+"/d/name/x", "")
		write(t, tmp+"/e/name/y", "")
		paths := strings.NewReplacer("F", tmp+"/f", "D", tmp+"/d", "E", tmp+"/e")
		err := buildenv(t.Context(), &Input{Env: map[string]string{"derivations": paths.Replace(order), "manifest": "/m"}, Outputs: map[string]string{"out": tmp + "/out"}}, &logger{w: io.Discard})
		want := []string{
			fmt.Sprintf("collision between \"%[1]s/d/name\" and non-directory \"%[1]s/f/name\"", tmp),
			"", // the file has the lower priority
			fmt.Sprintf("collision between non-directory '%[1]s/f/name' and directory '%[1]s/out/name'", tmp),
		}[i]
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) {
			t.Errorf("%s: %v\nwant %s", order, err, want)
		}
	}
}

type member struct {
	name, text, target string
	kind               byte
}

// archive makes a tar archive.
func archive(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if m.kind == 0 {
			m.kind = tar.TypeReg
		}
		if err := w.WriteHeader(&tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.target, Size: int64(len(m.text)), Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, m.text)
	}
	w.Close()
	return b.Bytes()
}

// No member of a hostile archive leads out of the output.
func TestUnpackChannel(t *testing.T) {
	for _, test := range []struct {
		name    string
		channel string
		members []member
		err     string // a part of it; "" for success
	}{
		{"good", "nixos", []member{{name: "./"}, {name: "top/", kind: tar.TypeDir}, {name: "top/file", text: "x"}, {name: "top/file", text: "file"}, {name: "top/link", kind: tar.TypeSymlink, target: "/etc/passwd"}, {name: "top/hard", kind: tar.TypeLink, target: "top/file"}}, ""},
		{"same name", "nixos", []member{{name: "nixos/", kind: tar.TypeDir}, {name: "nixos/file", text: "x"}}, ""},
		{"absolute", "nixos", []member{{name: "/top/file", text: "file"}}, ""},
		{"dotdot", "nixos", []member{{name: "../x", text: "evil"}}, "the name contains '..'"},
		{"dotdot inside", "nixos", []member{{name: "top/../../x", text: "evil"}}, "the name contains '..'"},
		{"through", "nixos", []member{{name: "top", kind: tar.TypeSymlink, target: ".."}, {name: "top/x", text: "evil"}}, "the name leads through a symlink"},
		{"through two", "nixos", []member{{name: "top/l", kind: tar.TypeSymlink, target: "../.."}, {name: "top/l/d/x", text: "evil"}}, "the name leads through a symlink"},
		{"overwrite", "nixos", []member{{name: "top/l", kind: tar.TypeSymlink, target: "../../canary"}, {name: "top/l", text: "evil"}}, ""},
		{"hard out", "nixos", []member{{name: "top/x", kind: tar.TypeLink, target: "../canary"}}, "the name contains '..'"},
		{"hard absolute", "nixos", []member{{name: "top/x", kind: tar.TypeLink, target: "/canary"}}, "no such file"},
		{"hard through", "nixos", []member{{name: "top/l", kind: tar.TypeSymlink, target: "../.."}, {name: "top/x", kind: tar.TypeLink, target: "top/l/canary"}}, "the name leads through a symlink"},
		{"device", "nixos", []member{{name: "top/x", kind: tar.TypeChar}}, "is not supported"},
		{"fifo", "nixos", []member{{name: "top/x", kind: tar.TypeFifo}}, "is not supported"},
		{"empty", "nixos", nil, "is empty"},
		{"two", "nixos", []member{{name: "a", text: ""}, {name: "b", text: ""}}, "contains more than one file"},
		{"slash", "a/b", []member{{name: "a", text: ""}}, "channelName is not allowed to contain filesystem separators, got a/b"},
		{"parent", "..", []member{{name: "a", text: ""}}, "channelName is not a name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tmp := t.TempDir()
			write(t, tmp+"/canary", "untouched")
			for m := range test.members {
				if test.members[m].name == "./" {
					test.members[m].kind = tar.TypeDir
				}
			}
			plain := archive(t, test.members...)
			for _, method := range []string{"none", "xz", "gzip"} {
				var packed bytes.Buffer
				w, err := compression.Encode(method, &packed, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(plain); err != nil {
					t.Fatal(err)
				}
				w.Close()
				write(t, tmp+"/src", packed.String())
				out := tmp + "/out-" + method
				err = unpackChannel(t.Context(), &Input{Env: map[string]string{"channelName": test.channel, "src": tmp + "/src"}, Outputs: map[string]string{"out": out}}, &logger{w: io.Discard})
				if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
					t.Fatalf("%s: %v, want %q", method, err, test.err)
				}
				if test.name == "good" {
					want := strings.ReplaceAll("O ->\nO/nixos ->\nO/nixos/file ->\nO/nixos/hard ->\nO/nixos/link -> /etc/passwd\n", "O", "T/out-"+method)
					if got := list(t, out, tmp); got != want {
						t.Errorf("%s", got)
					}
				}
			}
			if text, err := os.ReadFile(tmp + "/canary"); string(text) != "untouched" || err != nil {
				t.Errorf("the canary is %q, %v", text, err)
			}
			if _, err := os.Lstat(filepath.Join(tmp, "x")); err == nil {
				t.Error("a file was made outside")
			}
		})
	}
}

// run runs fetchurl and returns the contents of the output, the log and the error.
func run(t *testing.T, in *Input) (text, log string, err error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	in.Outputs, in.Networked = map[string]string{"out": out}, true
	var b bytes.Buffer
	err = indented(fetchurl(t.Context(), in, &logger{w: &b}))
	contents, _ := os.ReadFile(out)
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), out, "OUT"))
	}
	return string(contents), b.String(), err
}

func quickRetries(t *testing.T) {
	before, refused := retryAfter, retryAfterRefused
	retryAfter, retryAfterRefused = time.Millisecond, time.Millisecond
	t.Cleanup(func() { retryAfter, retryAfterRefused = before, refused })
}

func TestFetchurl(t *testing.T) {
	quickRetries(t)
	var tree bytes.Buffer
	dir := t.TempDir()
	write(t, dir+"/tree/file", "in an archive")
	if err := nar.Dump(t.Context(), &tree, dir+"/tree", nil); err != nil {
		t.Fatal(err)
	}
	var xz bytes.Buffer
	w, _ := compression.Encode("xz", &xz, 0, 0)
	w.Write(tree.Bytes())
	w.Close()
	long := strings.Repeat("0123456789", 100_000)
	failures := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "contents") })
	mux.HandleFunc("/tree.nar.xz", func(w http.ResponseWriter, r *http.Request) { w.Write(xz.Bytes()) })
	mux.HandleFunc("/tree.nar", func(w http.ResponseWriter, r *http.Request) { w.Write(tree.Bytes()) })
	mux.HandleFunc("/sha256/abc", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "mirrored") })
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/file", http.StatusFound) })
	mux.HandleFunc("/tofile", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, "unzipped")
		z.Close()
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		io.WriteString(w, "for me")
	})
	mux.HandleFunc("/resume", func(w http.ResponseWriter, r *http.Request) {
		if failures++; failures < 3 {
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", fmt.Sprint(len(long)))
			from := 0
			if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(len(long)-from))
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(long)-1, len(long)))
				w.WriteHeader(http.StatusPartialContent)
			}
			io.WriteString(w, long[from:from+300_000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(long))
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		if failures++; failures < 4 {
			http.Error(w, "come again", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "at last")
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	host := strings.Split(strings.TrimPrefix(server.URL, "http://"), ":")[0]
	write(t, dir+"/local file", "local")

	for _, test := range []struct {
		name string
		in   Input
		want string
		err  string // an expression
	}{
		{"flat", Input{Env: map[string]string{"url": server.URL + "/file"}}, "contents", ""},
		{"redirect", Input{Env: map[string]string{"url": server.URL + "/redirect"}}, "contents", ""},
		{"tofile", Input{Env: map[string]string{"url": server.URL + "/tofile"}}, "", `Unsupported protocol \(1\) .*Protocol "file" disabled in redirect`},
		{"loop", Input{Env: map[string]string{"url": server.URL + "/loop"}}, "", `Number of redirects hit maximum amount \(47\) Maximum \(10\) redirects followed$`},
		{"gzip", Input{Env: map[string]string{"url": server.URL + "/gzip"}}, "unzipped", ""},
		{"file", Input{Env: map[string]string{"url": "file://" + dir + "/local%20file"}}, "local", ""},
		{"fifo", Input{Env: map[string]string{"url": "file://" + dir}}, "", "is not a regular file$"},
		{"nofile", Input{Env: map[string]string{"url": "file:///srv/files/f"}}, "",
			`^\n       … writing file "OUT"\n\n       error: unable to download 'file:///srv/files/f': Could not read a file:// file \(37\) Could not open file /srv/files/f$`},
		{"refused", Input{Env: map[string]string{"url": "http://127.0.0.1:1/nope"}}, "",
			`^\n       … writing file "OUT"\n\n       error: unable to download 'http://127.0.0.1:1/nope': Could not connect to server \(7\) Failed to connect to 127.0.0.1:1 after \d+ ms: Could not connect to server$`},
		{"404", Input{Env: map[string]string{"url": server.URL + "/missing"}}, "", `error: unable to download '.*/missing': HTTP error 404\n\n       response body:\n\n       404 page not found$`},
		{"mirror", Input{Env: map[string]string{"url": server.URL + "/file"}, FileHash: "sha256/abc", HashedMirrors: []string{server.URL + "/none", server.URL}}, "mirrored", ""},
		{"nomirror", Input{Env: map[string]string{"url": server.URL + "/file"}, FileHash: "sha256/xyz", HashedMirrors: []string{server.URL}}, "contents", ""},
		{"login", Input{Env: map[string]string{"url": server.URL + "/login"}, Netrc: []byte("machine " + host + " login me password secret")}, "for me", ""},
		{"nologin", Input{Env: map[string]string{"url": server.URL + "/login"}, Netrc: []byte("machine other login me password secret")}, "", "HTTP error 401"},
		{"url login", Input{Env: map[string]string{"url": strings.Replace(server.URL, "http://", "http://me:secret@", 1) + "/login"}}, "for me", ""},
		{"resume", Input{Env: map[string]string{"url": server.URL + "/resume"}}, long, ""},
		{"busy", Input{Env: map[string]string{"url": server.URL + "/busy"}}, "at last", ""},
		{"tls", Input{Env: map[string]string{"url": secure.URL + "/file"}, Certificates: certificate}, "contents", ""},
		{"tls unknown", Input{Env: map[string]string{"url": secure.URL + "/file"}}, "", `SSL peer certificate or SSH remote key was not OK \(60\)`},
		{"scheme", Input{Env: map[string]string{"url": "gopher://x/y"}}, "", `Unsupported protocol \(1\)`},
		{"no url", Input{}, "", "^attribute 'url' missing$"},
		{"proxy", Input{Env: map[string]string{"url": "http://elsewhere.invalid/file"}, Proxies: map[string]string{"http_proxy": server.URL}}, "contents", ""},
		{"no proxy", Input{Env: map[string]string{"url": server.URL + "/file"}, Proxies: map[string]string{"http_proxy": "http://127.0.0.1:1", "no_proxy": "x, " + host}}, "contents", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			failures = 0
			text, log, err := run(t, &test.in)
			if test.err == "" {
				if err != nil || text != test.want {
					t.Errorf("%.100q, %v\n%s", text, err, log)
				}
				return
			}
			if err == nil || !regexp.MustCompile(test.err).MatchString(err.Error()) {
				t.Errorf("%q", err)
			}
		})
	}
	for _, name := range []string{"/tree.nar", "/tree.nar.xz"} {
		out := filepath.Join(t.TempDir(), "out")
		in := &Input{Env: map[string]string{"url": server.URL + name, "unpack": "1", "executable": "1"}, Outputs: map[string]string{"out": out}, Networked: true}
		if err := fetchurl(t.Context(), in, &logger{w: io.Discard}); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(out + "/file"); string(text) != "in an archive" {
			t.Error(string(text), err)
		}
	}
	in := &Input{Env: map[string]string{"url": server.URL + "/file", "unpack": "1"}, Outputs: map[string]string{"out": filepath.Join(t.TempDir(), "out")}, Networked: true}
	if err := fetchurl(t.Context(), in, &logger{w: io.Discard}); err == nil {
		t.Error("a text was restored as an archive")
	}
	in.Networked = false
	if err := fetchurl(t.Context(), in, &logger{w: io.Discard}); err == nil || err.Error() != "'builtin:fetchurl' must be a fixed-output or impure derivation" {
		t.Error(err)
	}
}

// The log tells of a download as Nix's does.
func TestTransferLog(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "four") }))
	defer server.Close()
	_, log, err := run(t, &Input{Env: map[string]string{"url": server.URL}})
	want := fmt.Sprintf(`@nix {"action":"start","fields":["%[1]s"],"id":1,"level":4,"parent":0,"text":"downloading '%[1]s'","type":101}
@nix {"action":"result","fields":[4,4,0,0],"id":1,"type":105}
@nix {"action":"stop","id":1}
`, server.URL)
	if err != nil || log != want {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestProxyFor(t *testing.T) {
	for list, want := range map[string]bool{"": false, "*": true, "example.org": true, ".example.org": true, "ample.org": false, "a,b example.org": true, "10.0.0.0/8": false} {
		if got := isExempt(list, "www.Example.org"); got != want {
			t.Errorf("%q: %v", list, got)
		}
	}
	if !isExempt("10.0.0.0/8", "10.1.2.3") {
		t.Error("a network")
	}
}
