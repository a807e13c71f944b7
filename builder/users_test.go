package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/derivation"
	"pix/store"
)

// withUsers gives a place that many build users without accounts of this machine.
func (p *place) withUsers(n int) {
	p.t.Helper()
	if os.Geteuid() != 0 {
		p.t.Skip("only root has build users")
	}
	p.opts.etc, p.opts.machineUsers = p.t.TempDir(), filepath.Join(p.t.TempDir(), "users")
	p.opts.BuildUsersGroup = "builders"
	p.opts.PollInterval = 10 * time.Millisecond
	passwd := "root:x:0:0:root:/root:/bin/sh\n"
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("builder%d", i))
		passwd += fmt.Sprintf("builder%d:x:%d:%d:::\n", i, firstBuildUser+i, firstBuildUser)
	}
	p.write(filepath.Join(p.opts.etc, "passwd"), passwd)
	p.write(filepath.Join(p.opts.etc, "group"), fmt.Sprintf("root:x:0:\nbuilders:x:%d:%s\nvirtual:x:%d:builder0\n", firstBuildUser, strings.Join(names, ","), firstBuildUser+1))
	p.letOthersEnter()
}

// firstBuildUser is not a build user of another process that tests.
var firstBuildUser = 3_000_000 + 10*os.Getpid()

// automaticUsers are the first of the ids without accounts.
var automaticUsers = 0x50000000 + os.Getpid()%1000*uidsPerSlot

func (p *place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// letOthersEnter makes the directories of the test accessible to build users, and moves the build directories to
// one that no other user may change.
func (p *place) letOthersEnter() {
	p.t.Helper()
	for dir := p.store.StateDir(); dir != "/" && dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("/var/lib", "pix-test-") // all parents belong to root
	if err != nil {
		p.t.Skip(err)
	}
	p.t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	p.opts.BuildDir = dir
}

func TestBuildUsers(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.withUsers(2)
		out := p.mustBuild(p.script("ids", "(id -u; id -g; id -G; cat /proc/self/uid_map; stat -c %u:%g:%a .) > $out", nil))
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text))
		got := strings.Join(fields, " ")
		want := fmt.Sprintf("1000 100 100 1000 %d 1 1000:100:700", firstBuildUser)
		if len(p.opts.SandboxPaths) == 0 {
			want = fmt.Sprintf("%[1]d %[1]d %[1]d %[2]d 0 0 4294967295 %[1]d:%[1]d:700", firstBuildUser, firstBuildUser+1)
		}
		if got != want {
			t.Errorf("the builder is %s, not %s", got, want)
		}
		if _, err := os.Stat(filepath.Join(p.store.StateDir(), "userpool", fmt.Sprint(firstBuildUser))); err != nil {
			t.Error(err)
		}
	})
}

// Two builds at once have two users. With one user, the second build waits.
func TestBuildUserWaits(t *testing.T) {
	p := sandboxedPlace(t)
	p.withUsers(1)
	first := make(chan error, 1)
	started := make(chan struct{})
	waiting := make(chan string, 1)
	run := func(name, script string, handle func(activity.Event)) error {
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(handle))
		result, err := New(p.store, &p.opts).Build(ctx, p.script(name, script, nil))
		if err == nil && result.Status != store.Built {
			err = fmt.Errorf("%+v", result)
		}
		return err
	}
	stop := t.TempDir()
	p.opts.SandboxPaths = append(p.opts.SandboxPaths, SandboxPath{Target: "/stop", Source: stop})
	go func() {
		first <- run("first", "echo started; while ! [ -e /stop/now ]; do sleep 0.05; done; echo > $out", func(e activity.Event) {
			if r, ok := e.(activity.Result); ok && r.Type == activity.BuildLogLine {
				close(started)
			}
		})
	}()
	select {
	case <-started:
	case err := <-first:
		t.Fatal(err)
	}
	req := "second"
	err := run(req, "echo > $out", func(e activity.Event) {
		if s, ok := e.(activity.Start); ok && s.Type == activity.BuildWaiting {
			waiting <- s.Text
			p.write(filepath.Join(stop, "now"), "")
		}
	})
	if err != nil {
		t.Error(err)
	}
	if text := <-waiting; !strings.HasPrefix(text, "waiting for a free build user ID for '") {
		t.Error(text)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestAutomaticUsers(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.withUsers(1)
		p.opts.AutoAllocateUIDs, p.opts.StartID = true, uint32(automaticUsers)
		p.opts.SystemFeatures = []string{"uid-range"}
		out := p.mustBuild(p.script("ids", "(id -u; cat /proc/self/uid_map) > $out", nil))
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("1000 1000 %d 1", automaticUsers)
		if len(p.opts.SandboxPaths) == 0 {
			want = fmt.Sprintf("%d 0 0 4294967295", automaticUsers)
		}
		if got := strings.Join(strings.Fields(string(text)), " "); got != want {
			t.Errorf("the builder is %s, not %s", got, want)
		}
		if _, err := os.Stat(filepath.Join(p.store.StateDir(), "userpool2/slot-0")); err != nil {
			t.Error(err)
		}
	})
}

// What runs as a build user when a build begins, or when a build without a sandbox ends, is killed.
func TestLeftoversAreKilled(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.withUsers(1)
		sleep := sleeper()
		cmd := exec.Command("sleep", sleep)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(firstBuildUser), Gid: uint32(firstBuildUser)}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go cmd.Wait()
		own := sleeper()
		p.mustBuild(p.script("x", "setsid sh -c 'sleep "+own+" &' & setsid sleep "+own+" & echo > $out", nil))
		p.checkGone(sleep)
		p.checkGone(own)
	})
}

func TestBuildUserErrors(t *testing.T) {
	p := sandboxedPlace(t)
	p.withUsers(1)
	for _, test := range []struct {
		change func(o *Options)
		want   string
	}{
		{func(o *Options) { o.BuildUsersGroup = "nope" }, "the group 'nope' specified in 'build-users-group' does not exist"},
		{func(o *Options) { o.BuildUsersGroup = "root" }, "the build users group 'root' has no members"},
		{func(o *Options) { o.BuildDir = os.TempDir() }, fmt.Sprintf("Path %q is world-writable or a symlink. That's not allowed for security.", os.TempDir())},
	} {
		before := p.opts
		test.change(&p.opts)
		_, _, err := p.build(p.script("x", "", nil))
		if err == nil || err.Error() != test.want {
			t.Errorf("%v, not %s", err, test.want)
		}
		p.opts = before
	}
	p.write(filepath.Join(p.opts.etc, "group"), "builders:x:5:gone\n")
	if _, _, err := p.build(p.script("x", "", nil)); err == nil || err.Error() != "the user 'gone' in the group 'builders' does not exist" {
		t.Error(err)
	}
	p.opts.AutoAllocateUIDs, p.opts.StartID = true, uint32(firstBuildUser)
	if _, _, err := p.build(p.script("x", "", nil)); err == nil || err.Error() != fmt.Sprintf("auto-allocated UID %d clashes with existing user account 'builder0'", firstBuildUser) {
		t.Error(err)
	}
}

// A build directory below /tmp is safe if no other user can replace it.
func TestBuildDirBelowSticky(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make directories of other users")
	}
	sticky := filepath.Join(t.TempDir(), "tmp")
	for _, test := range []struct {
		top, below fs.FileMode
		owner      int
		ok         bool
	}{
		{fs.ModeSticky | 0o777, 0o755, 0, true},
		{0o777, 0o755, 0, false},
		{fs.ModeSticky | 0o777, 0o777, 0, false},
		{fs.ModeSticky | 0o777, fs.ModeSticky | 0o777, 0, false},
		{fs.ModeSticky | 0o777, 0o755, firstBuildUser, false},
		{0o755, 0o755, 0, true},
	} {
		dir := filepath.Join(sticky, "dir")
		err := errors.Join(os.RemoveAll(sticky), os.MkdirAll(dir, 0o755), os.Chmod(sticky, test.top), os.Chmod(dir, test.below), os.Chown(dir, test.owner, -1))
		if err != nil {
			t.Fatal(err)
		}
		if err := checkNotWorldWritable(dir); (err == nil) != test.ok {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// Without options, builds of root are not root where that can be avoided.
func TestDefaultUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has build users")
	}
	without, with := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(with, "group"), []byte("nixbld:x:30000:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	own := sourceIDs
	if !namespaceHasUser(defaultStartID) {
		own = sourceSelf
	}
	for _, test := range []struct {
		opts            Options
		sandboxed, open userSource
	}{
		{Options{etc: without}, own, sourceSelf},
		{Options{etc: without, BuildUsersGroup: "builders"}, sourceGroup, sourceGroup},
		{Options{etc: with}, sourceGroup, sourceGroup},
		{Options{etc: with, AsRoot: true}, sourceSelf, sourceSelf},
		{Options{etc: with, AsRoot: true, BuildUsersGroup: "builders"}, sourceGroup, sourceGroup},
		{Options{etc: with, AsRoot: true, AutoAllocateUIDs: true}, sourceIDs, sourceIDs},
	} {
		for sandboxed, want := range map[bool]userSource{true: test.sandboxed, false: test.open} {
			if got, err := test.opts.chooseUsers(sandboxed); got != want || err != nil {
				t.Errorf("%+v, sandboxed %v: %v, %v; want %v", test.opts, sandboxed, got, err, want)
			}
		}
	}
	p := sandboxedPlace(t)
	p.opts.AsRoot, p.opts.etc = false, without
	out := p.mustBuild(p.script("ids", "cat /proc/self/uid_map > $out", nil))
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if fields := strings.Fields(string(text)); own == sourceIDs && (len(fields) != 3 || fields[1] == "0") {
		t.Errorf("the builder has the ids %q, and is root", text)
	}
}

// The build directory of a sandbox is below one that only the user of this process may enter. The builder cannot reach
// that from inside, and the modes that it gives its own directory let no other user in.
func TestBuildDirIsPrivate(t *testing.T) {
	p := sandboxedPlace(t)
	p.withUsers(1)
	var names []string
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if r, ok := e.(activity.Result); !ok || r.Type != activity.BuildLogLine {
			return
		}
		tops, _ := filepath.Glob(filepath.Join(p.opts.BuildDir, "nix-*-*"))
		for _, top := range tops {
			var st unix.Stat_t
			if unix.Lstat(top, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				names = append(names, fmt.Sprintf("%d %o", st.Uid, st.Mode&0o7777))
			}
		}
	}))
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	result, err := New(p.store, &p.opts).Build(ctx, p.script("open", "chmod 0777 . || exit 1; chmod 0777 .. && exit 2; echo ready; sleep 0.2; echo > $out", nil))
	if err != nil || result.Status != store.Built {
		t.Fatalf("%+v, %v", result, err)
	}
	if len(names) == 0 || slices.ContainsFunc(names, func(s string) bool { return s != "0 700" }) {
		t.Errorf("the directories are %q", names)
	}
}

// A build in a cgroup of its own leaves none.
func TestCgroup(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.withUsers(1)
		if ownCgroup() == "" {
			t.Skip("this machine has no cgroups of version 2")
		}
		p.opts.Cgroups = true
		before := filepath.Join(ownCgroup(), fmt.Sprintf("nix-build-uid-%d", firstBuildUser+1))
		if err := os.MkdirAll(filepath.Join(before, "inner"), 0o755); err != nil {
			t.Skip(err)
		}
		notes := filepath.Join(p.store.StateDir(), "cgroups")
		if err := os.MkdirAll(notes, 0o755); err != nil {
			t.Fatal(err)
		}
		p.write(filepath.Join(notes, fmt.Sprint(firstBuildUser)), before)
		out := p.mustBuild(p.script("cgroup", "cat /proc/self/cgroup > $out", nil))
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("/nix-build-uid-%d\n", firstBuildUser)
		if inside := len(p.opts.SandboxPaths) > 0; inside && !strings.Contains(string(text), "0::/\n") || !inside && !strings.Contains(string(text), name) {
			t.Errorf("the cgroups are %q", text)
		}
		for _, dir := range []string{before, filepath.Join(ownCgroup(), strings.TrimSpace(name))} {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s: %v", dir, err)
			}
		}
	})
}

// A builder that asks for a range of ids is root in its sandbox, and its files may belong to any of them.
func TestUIDRange(t *testing.T) {
	p := sandboxedPlace(t)
	p.withUsers(1)
	p.opts.AutoAllocateUIDs, p.opts.StartID = true, uint32(automaticUsers)
	p.opts.SystemFeatures = []string{"uid-range"}
	out := p.mustBuild(p.script("range", "mkdir $out; (id -u; cat /proc/self/uid_map; stat -c %u / /etc) > $out/ids; echo x > $out/other; chown 1000:1000 $out/other", func(d *derivation.Derivation) {
		d.Env.Set("requiredSystemFeatures", "uid-range")
	}))
	text, err := os.ReadFile(filepath.Join(out, "ids"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(text)), " "); got != fmt.Sprintf("0 0 %d 65536 0 0", automaticUsers) {
		t.Errorf("the builder is %s", got)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(out, "other"), &st); err != nil || st.Uid != 0 || st.Mode != unix.S_IFREG|0o444 {
		t.Errorf("%+v, %v", st, err)
	}
	p.opts.AutoAllocateUIDs = false
	_, _, err = p.build(p.script("range", "", func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", "uid-range") }))
	if err == nil || err.Error() != "feature 'uid-range' requires the setting 'auto-allocate-uids' to be enabled" {
		t.Error(err)
	}
}

// Two stores do not use one build user at the same time.
func TestMachineUsers(t *testing.T) {
	p, other := sandboxedPlace(t), sandboxedPlace(t)
	p.withUsers(2)
	other.withUsers(2)
	other.opts.machineUsers = p.opts.machineUsers
	var users []int
	for _, place := range []*place{p, other, p} {
		b, err := newBuild(place.store, &place.opts, place.script("x", "", nil))
		if err != nil {
			t.Fatal(err)
		}
		user, err := b.tryUser()
		if err != nil {
			t.Fatal(err)
		}
		if user != nil {
			users = append(users, user.uid-firstBuildUser)
			defer user.release()
		}
	}
	if !slices.Equal(users, []int{0, 1}) {
		t.Errorf("the users are %v", users)
	}
}
