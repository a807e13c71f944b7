package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pix/builder/sandbox"
	"pix/daemontest"
	"pix/internal/pages"
	"pix/nar"
	"pix/nixconf"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

const jsonPage = "../../docs/json.md"

// exampleKey is the secret key in the example of Nix's manual.
const exampleKey = "cache.example.org-0:E7lAO+MsPwTFfPXsdPtW8GKui/5ho4KQHVcAGnX+Tti1V4dUxoVoqLyWJ4YESuZJwQ67GVIksDt47og+tPVUZw=="

// Paths in the store of the examples.
const (
	exampleDrv    storepath.Path = "/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv"
	exampleOutput storepath.Path = "/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting"
	unbuiltDrv    storepath.Path = "/nix/store/00000000000000000000000000000000-unbuilt.drv"
)

// An exampleStore is a daemon with a store that always has the same contents. The test works in a new directory
// with files.
type exampleStore struct {
	t        *testing.T
	daemon   *daemontest.Daemon
	old, new storepath.Path // two versions of a package that refers to the output
}

func newExampleStore(t *testing.T) *exampleStore {
	mem := memstore.New(&memstore.Options{Now: func() time.Time { return time.Unix(1700000000, 0) }})
	x := &exampleStore{t: t, daemon: daemontest.New(t, &daemontest.Options{Store: mem, NixVersion: "2.34.8", NoFeatures: true})}
	ctx := t.Context()

	session, err := mem.Session(ctx) // its temporary roots end with the session
	x.check(err)
	s := session.(*memstore.Store)
	drv, err := os.ReadFile("../../testdata/greeting.drv")
	x.check(err)
	_, err = s.AddTextToStore(ctx, "greeting.drv", string(drv), nil)
	x.check(err)
	x.addOutput(ctx, s)
	x.old = x.addPackage(ctx, s, "viewer-1.0", "see "+string(exampleOutput)+"\n")
	x.new = x.addPackage(ctx, s, "viewer-1.1", "see "+string(exampleOutput)+", which is better\n")
	_, err = mem.AddPermRoot(ctx, x.new, "/nix/var/nix/gcroots/viewer")
	x.check(err)
	x.check(s.Close())

	t.Chdir(t.TempDir())
	x.check(os.WriteFile("greeting.drv", drv, 0o666))
	x.check(os.WriteFile(exampleDrv.Base(), drv, 0o666))
	changed := strings.ReplaceAll(string(drv), "hello from", "goodbye from")
	x.check(os.WriteFile("changed.drv", []byte(changed), 0o666))
	x.check(os.WriteFile("00000000000000000000000000000000-greeting.drv", drv, 0o666))
	x.check(os.MkdirAll("src/bin", 0o777))
	x.check(os.WriteFile("src/bin/hello", []byte("#!/bin/sh\necho hello\n"), 0o777))
	x.check(os.Chmod("src/bin/hello", 0o777))
	x.check(os.WriteFile("src/README", []byte("hello\n"), 0o666))
	x.check(os.Symlink("bin/hello", "src/greet"))
	x.check(os.WriteFile("hello.narinfo", []byte(`StorePath: /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
URL: nar/hello.nar
Compression: none
NarHash: sha256:ae45042aef5b148835db02d045fe89b4c09ff9e476dab001a14bc0322d3f2093
NarSize: 128
References: 
CA: text:sha256:1sfdxziarxw8j3p80lvswgpq9i7smdyxmmsj5sjhhgjdjfwjfkdr
`), 0o666))
	return x
}

func (x *exampleStore) check(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// addOutput adds the output of greeting.drv, signed.
func (x *exampleStore) addOutput(ctx context.Context, s *memstore.Store) {
	file := filepath.Join(x.t.TempDir(), "greeting")
	x.check(os.WriteFile(file, []byte("hello from a build\n"), 0o666))
	var archive bytes.Buffer
	x.check(nar.Dump(ctx, &archive, file, nil))
	info := &store.PathInfo{
		Path: exampleOutput, Deriver: exampleDrv, Ultimate: true,
		NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()),
	}
	key, err := signature.ParseSecretKey(exampleKey)
	x.check(err)
	x.check(info.Sign(key))
	x.check(s.AddToStoreNAR(ctx, info, &archive, &store.AddOptions{NoSignatures: true}))
}

// addPackage adds a directory with a file and a symlink to the output.
func (x *exampleStore) addPackage(ctx context.Context, s *memstore.Store, name, text string) storepath.Path {
	dir := x.t.TempDir()
	x.check(os.WriteFile(filepath.Join(dir, "see"), []byte(text), 0o666))
	x.check(os.Symlink(string(exampleOutput), filepath.Join(dir, "link")))
	var archive bytes.Buffer
	x.check(nar.Dump(ctx, &archive, dir, nil))
	info, err := s.AddToStore(ctx, name, storepath.NAR, nixhash.SHA256, []storepath.Path{exampleOutput}, &archive, nil)
	x.check(err)
	return info.Path
}

// pix runs the command and returns its output.
func (x *exampleStore) pix(args ...string) string {
	x.t.Helper()
	env := map[string]string{"NIX_DAEMON_SOCKET_PATH": x.daemon.Socket()}
	var stdout, stderr bytes.Buffer
	code := run(args, strings.NewReader(""), &stdout, &stderr, func(name string) string { return env[name] })
	if stdout.Len() == 0 || code > exitNo {
		x.t.Errorf("pix %s: exit code %d, %s", strings.Join(args, " "), code, stderr.Bytes())
	}
	return stdout.String()
}

// fileURL returns the URL of a file.
func (x *exampleStore) fileURL(name string) string {
	path, err := filepath.Abs(name)
	x.check(err)
	return "file://" + path
}

// TestJSONPage compares the examples in docs/json.md with the output of the verbs, and checks that the page
// describes each member. With -update it writes the examples.
func TestJSONPage(t *testing.T) {
	page, err := filepath.Abs(jsonPage)
	if err != nil {
		t.Fatal(err)
	}
	x := newExampleStore(t)
	out, old, newer := string(exampleOutput), string(x.old), string(x.new)
	produced := map[string]string{
		"hash-path":              x.pix("hash-path", "--json", "src"),
		"hash-file":              x.pix("hash-file", "--json", "--base32", "src/README"),
		"drv-show":               x.pix("drv-show", "greeting.drv"),
		"drv-show-4":             x.pix("drv-show", "--json-version", "4", "greeting.drv"),
		"drv-verify":             x.pix("drv-verify", "--json", exampleDrv.Base(), "00000000000000000000000000000000-greeting.drv"),
		"drv-diff":               x.pix("drv-diff", "--json", "greeting.drv", "changed.drv"),
		"explain":                x.pix("explain", "--json", newer),
		"explain-against":        x.pix("explain", "--json", "--against", "greeting.drv", "changed.drv"),
		"explain-why-rebuilt":    x.pix("explain", "--json", "--why-rebuilt", "greeting.drv", "changed.drv"),
		"explain-affects":        x.pix("explain", "--json", "--affects", "greeting.drv"),
		"path-info":              x.pix("path-info", "--json", "-S", out),
		"path-info-2":            x.pix("path-info", "--json", "--json-format", "2", newer),
		"is-valid":               x.pix("is-valid", "--json", out, string(unbuiltDrv)),
		"closure":                x.pix("closure", "--json", newer),
		"make-content-addressed": x.pix("make-content-addressed", "--json", out),
		"outputs":                x.pix("outputs", "--json", string(exampleDrv)),
		"why-depends":            x.pix("why-depends", "--json", newer, out),
		"why-depends-all":        x.pix("why-depends", "--json", "--all", newer, out),
		"graph":                  x.pix("graph", "--json", newer),
		"diff":                   x.pix("diff", "--json", old, newer),
		"ls":                     x.pix("ls", "--json", "--recursive", newer),
		"build":                  x.pix("build", "--json", string(exampleDrv)+"^out", string(unbuiltDrv)+"^*"),
		"build-dry-run":          x.pix("build", "--json", "--dry-run", string(exampleDrv)+"^out", string(unbuiltDrv)+"^*"),
		"daemon-info":            firstOperations(t, x.pix("daemon-info", "--json"), x.daemon.Socket()),
		"daemon-info-dir":        exampleLocalInfo(t),
		"ps":                     exampleActiveBuilds(t),
		"monitor":                exampleMonitor(t, exampleOperation),
		"monitor-handshake":      exampleMonitor(t, exampleHandshake),
		"monitor-connect":        exampleMonitor(t, exampleConnect),
		"monitor-raw":            exampleMonitor(t, exampleRaw),
		"monitor-close":          exampleMonitor(t, exampleClose),
		"monitor-summary":        exampleMonitorSummary(t),
		"roots":                  x.pix("roots", "--json"),
		"roots-sizes":            x.pix("roots", "--json", "--sizes"),
		"gc":                     x.pix("gc", "--json", old),
		"gc-explain":             exampleLiveness(t, x.new),
		"profile-history":        x.profile("history", "--json"),
		"profile-list":           x.profile("list", "--json"),
		"profile-diff":           x.profile("diff", "--json", "1"),
		"doctor":                 exampleDoctor(t),
		"narinfo-verify":         x.pix("narinfo-verify", "--json", "--trusted-public-keys", "", "hello.narinfo"),
		"config":                 exampleSetting(t),
		"docs":                   firstElement(t, x.pix("docs", "--json")),
		"docs-page":              exampleDocsPage(t),
		"docs-search":            firstElement(t, x.pix("docs", "--json", "--search", "rollback", "profile")),
		"version":                exampleVersion(t),
		"prefetch":               x.pix("prefetch", "--json", x.fileURL("src/README")),
	}
	if t.Failed() {
		t.FailNow()
	}
	pages.Check(t, page, produced, *update)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	checkMembers(t, string(text), produced)
	for _, verb := range allVerbs(newRoot(newApp(nil, nil, nil, nil))) {
		if verb.LocalFlags().Lookup("json") != nil && !strings.Contains(string(text), "\n### "+verbName(verb)+"\n") {
			t.Errorf("docs/json.md has no section on %s --json", verbName(verb))
		}
	}
}

// firstOperations returns the output of daemon-info with only some operations and the default address.
func firstOperations(t *testing.T, text, socket string) string {
	var info daemonInfoJSON
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		t.Fatal(err)
	}
	info.Operations = slices.DeleteFunc(info.Operations, func(o daemonOperationJSON) bool {
		return o.Name != "IsValidPath" && o.Name != "CollectGarbage" && o.Reason == nil
	})[:3]
	text, err := marshalJSON(info)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text, socket, "/nix/var/nix/daemon-socket/socket")
}

// exampleLocalInfo returns the output of daemon-info for a store in a directory.
func exampleLocalInfo(t *testing.T) string {
	text, err := marshalJSON(localInfoJSON{
		chosenJSON{Store: "/srv/store"}, "/nix/store", "/srv/store/nix/store", "/srv/store/nix/var/nix", "/srv/store/nix/var/log/nix", new(10), false,
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exampleLiveness returns the output of gc --explain, which no daemon supports.
func exampleLiveness(t *testing.T, live storepath.Path) string {
	text, err := marshalJSON([]livenessJSON{
		newLivenessJSON(exampleOutput, &store.Liveness{
			Root: store.Root{Link: "/nix/var/nix/gcroots/viewer", Path: live},
			Chain: []store.LivenessStep{
				{Path: live, Needed: store.LiveRoot}, {Path: exampleOutput, Needed: store.LiveReference},
			},
		}),
		newLivenessJSON(unbuiltDrv, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exampleFindings are what a machine with another kernel setting answers.
var exampleFindings = &sandbox.Findings{
	Namespaces: &sandbox.SetupError{
		Step: "starting a process in new namespaces: a user namespace", Err: syscall.ENOSPC,
		Advice: "User namespaces are switched off. As root: sysctl -w user.max_user_namespaces=10000",
	},
	BuildUsers: errors.New("only root can run processes as other users"), Ranges: errors.New("only root can run processes as other users"),
	CgroupDir: "/sys/fs/cgroup/user.slice", KVM: &os.PathError{Op: "open", Path: "/dev/kvm", Err: syscall.ENOENT},
	Landlock: 7, Kernel: "6.12.0", Shell: "/usr/bin/busybox",
}

// exampleDoctor returns the output of doctor for exampleFindings.
func exampleDoctor(t *testing.T) string {
	text, err := marshalJSON(doctorJSON(factsOf(exampleFindings)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Doctor prints a line for each fact, and then what to enable.
func TestDoctorText(t *testing.T) {
	want := `kernel: 6.12.0
sandbox: no: starting a process in new namespaces: a user namespace: no space left on device
build-users: no: only root can run processes as other users
user-ranges: no: only root can run processes as other users
filter: ok
landlock: ok (version 7)
cgroups: ok (/sys/fs/cgroup/user.slice)
kvm: no: opening '/dev/kvm': no such file or directory
shell: ok (/usr/bin/busybox)

for sandbox:
  User namespaces are switched off. As root: sysctl -w user.max_user_namespaces=10000
`
	if got := doctorText(factsOf(exampleFindings)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if buildsWork(exampleFindings, true) == nil || buildsWork(exampleFindings, false) == nil || buildsWork(&sandbox.Findings{}, false) != nil {
		t.Error("the exit code is wrong")
	}
}

// exampleSetting returns the output of config for a setting from nix.conf.
func exampleSetting(t *testing.T) string {
	conf := nixconf.Default()
	if err := conf.Set(nixconf.Assignment{Name: "connect-timeout", Value: "2", File: "/etc/nix/nix.conf", Line: 7, Source: nixconf.FromFile}); err != nil {
		t.Fatal(err)
	}
	text, err := marshalJSON(map[string]settingJSON{"connect-timeout": newSettingJSON(nixconf.Find("connect-timeout"), conf.Get("connect-timeout"))})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// firstElement returns a list with only its first element.
func firstElement(t *testing.T, text string) string {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	text, err := marshalJSON(list[:1])
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exampleDocsPage returns the output of docs for a short page.
func exampleDocsPage(t *testing.T) string {
	text, err := marshalJSON(docsPageJSON{
		Name: "building", Part: "How to use pix", Title: "Building", Summary: "sandboxes, other machines, and what to enable",
		Sections: []docsSectionJSON{{"building", 1, "Building"}, {"the-sandbox", 2, "The sandbox"}}, Markdown: "# Building\n\n## The sandbox\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exampleVersion returns the output of version for a fixed build.
func exampleVersion(t *testing.T) string {
	commit, at := "4d1b9c2fd40f2d9c3f0e8bb9d2b9a1c3e5f70812", int64(1700000000)
	text, err := marshalJSON(buildInfo{
		Version: "v0.1.0", Commit: &commit, CommitTime: &at, Go: "go1.26.0", Platform: "linux/amd64", JSONFormat: jsonFormat,
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// checkMembers checks that each section describes the members in its examples.
func checkMembers(t *testing.T, page string, produced map[string]string) {
	data := []string{"out", "link", "see", "name"} // names of outputs, files and variables
	for section := range strings.SplitSeq(page, "\n### ") {
		title, text, _ := strings.Cut(section, "\n")
		for name, example := range produced {
			if !strings.Contains(text, "```json "+name+"\n") {
				continue
			}
			var value any
			if err := json.Unmarshal([]byte(example), &value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for member := range memberNames(value) {
				if !strings.Contains(text, "`"+member+"`") && !strings.Contains(member, "-") && !slices.Contains(data, member) {
					t.Errorf("the section %s does not describe the member %s", title, member)
				}
			}
		}
	}
}

// memberNames returns the names of all members in a value.
func memberNames(value any) map[string]bool {
	names := make(map[string]bool)
	for todo := []any{value}; len(todo) > 0; {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch v := v.(type) {
		case []any:
			todo = append(todo, v...)
		case map[string]any:
			for name, member := range v {
				names[name] = true
				todo = append(todo, member)
			}
		}
	}
	return names
}
