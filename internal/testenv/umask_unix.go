//go:build unix

package testenv

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// umaskVariable is the environment variable of a child process that contains its umask.
const umaskVariable = "PIX_TEST_UMASK"

// UnderUmasks runs body under the umasks 0, 002, 022 and 077, each in a separate process, because the umask
// belongs to the process. Failures are reported in the calling process.
func UnderUmasks(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if text := os.Getenv(umaskVariable); text != "" {
		umask, err := strconv.ParseInt(text, 8, 32)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Umask(int(umask))
		body(t)
		return
	}
	name := t.Name()
	for _, umask := range []int{0, 0o002, 0o022, 0o077} {
		t.Run(fmt.Sprintf("%03o", umask), func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.count=1")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%o", umaskVariable, umask), "GORACE=atexit_sleep_ms=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// Modes returns the permissions of the files below dir, and of dir itself under the name ".", as
// text: "d0755" for a directory, "f0644" for a file, "s0600" for a socket. Symlinks are left out.
func Modes(t testing.TB, dir string) map[string]string {
	t.Helper()
	modes := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		kind := map[fs.FileMode]string{0: "f", fs.ModeDir: "d", fs.ModeSocket: "s"}[d.Type()]
		if d.Type() != fs.ModeSymlink {
			name, _ := filepath.Rel(dir, path)
			modes[name] = fmt.Sprintf("%s%04o", kind, st.Mode&0o7777)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return modes
}
