package powercut

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pix/internal/testenv"
)

// traced are the system calls that change files, sync them, or create descriptors. A call that the model does not
// have is an error if it changes a file below the directory.
const traced = "open,openat,?openat2,creat,close,dup,dup2,dup3,fcntl,lseek,read,write,writev,pwrite64,pwritev,pwritev2," +
	"truncate,ftruncate,fallocate,copy_file_range,sendfile,splice,ioctl,mmap,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir," +
	"mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,chmod,fchmod,fchmodat,?fchmodat2,fsync,fdatasync,sync_file_range,msync,sync,syncfs,faccessat,chdir,fchdir"

// A Recording contains the operations of a program on the files below a directory.
type Recording struct {
	base    *tree
	ops     []operation
	durable []int // for each operation, the number of operations after which it is durable
	marks   map[string]int
}

// Available returns an error if recording is not possible on this machine.
func Available() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return err
	}
	if out, err := exec.Command("strace", "-e", "trace=none", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Record runs a command to its end and records its operations on the files below dir, an absolute
// name without symlinks. Existing files count as synced. The program must not start other programs that change
// files there.
func Record(cmd *exec.Cmd, dir string) (*Recording, error) {
	base, err := readTree(dir)
	if err != nil {
		return nil, err
	}
	trace, err := os.CreateTemp("", "trace")
	if err != nil {
		return nil, err
	}
	defer os.Remove(trace.Name())
	defer trace.Close()
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, err
	}
	args := []string{"strace", "-f", "-q", "-xx", "-s", "100000000", "-e", "trace=" + traced, "-e", "signal=none", "-o", trace.Name(), "--", cmd.Path}
	cmd.Args = append(args, cmd.Args[1:]...)
	cmd.Path = strace
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(trace.Name())
	if err != nil {
		return nil, err
	}
	calls, err := parseTrace(string(text))
	if err != nil {
		return nil, err
	}
	p := &process{
		dir:   dir,
		tree:  base.clone(),
		files: make(map[int]*openFile),
		marks: make(map[string]int),
	}
	if err := p.run(calls); err != nil {
		return nil, err
	}
	base.inodes = append(base.inodes, p.created...)
	return &Recording{base, p.ops, durable(p.ops), p.marks}, nil
}

// markPrefix is the prefix of the file names by which Mark puts marks into the trace. No such file exists.
const markPrefix = "/dev/null/powercut/"

// Mark marks a moment in the recording of this program with a name.
func Mark(name string) {
	unix.Access(markPrefix+name, unix.F_OK)
}

// Len returns the number of operations.
func (r *Recording) Len() int { return len(r.ops) }

// Marked returns the number of operations before a mark.
func (r *Recording) Marked(name string) (n int, ok bool) {
	n, ok = r.marks[name]
	return n, ok
}

// Pending returns which of the first n operations a power cut right after them may lose.
func (r *Recording) Pending(n int) []int {
	var pending []int
	for i, op := range r.ops[:n] {
		if op.changes() && r.durable[i] > n {
			pending = append(pending, i)
		}
	}
	return pending
}

// durable returns, for each operation, the number of operations up to the first sync that makes it
// durable. A sync covers the operations that had ended when it began.
func durable(ops []operation) []int {
	until := make([]int, len(ops))
	for i := range ops {
		until[i] = math.MaxInt
		for j, later := range ops[i+1:] {
			if later.kind == opSync && later.inode == ops[i].inode && later.began > ops[i].ended {
				until[i] = i + 1 + j + 1
				break
			}
		}
	}
	return until
}

// Restore creates dir, which must not exist, as a power cut right after the first n operations leaves the recorded
// directory, if the lost operations were not written.
func (r *Recording) Restore(dir string, n int, lost ...int) error {
	t := r.base.clone()
	for i, op := range r.ops[:n] {
		if op.changes() && !slices.Contains(lost, i) {
			op.apply(t)
		}
	}
	return t.write(dir)
}

// TempDir returns a new directory for [Recording.Restore], and a function that removes it. The directory is in
// memory if possible, because tests try many power cuts.
func TempDir() (dir string, remove func(), err error) {
	parent := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		parent = "/dev/shm"
	}
	dir, err = os.MkdirTemp(parent, "powercut")
	remove = func() {
		testenv.MakeWritable(dir) // objects are read-only
		os.RemoveAll(dir)
	}
	return dir, remove, err
}

// Describe returns a description of operations for error messages.
func (r *Recording) Describe(ops ...int) string {
	var lines []string
	for _, i := range ops {
		lines = append(lines, fmt.Sprintf("%d: %s", i, r.ops[i].text))
	}
	return strings.Join(lines, "\n")
}

// shorten shortens arguments, which contain all written bytes, for error messages.
func shorten(text string) string {
	if len(text) > 300 {
		return text[:300] + "…"
	}
	return text
}

// within returns the name relative to dir, with slashes, of an absolute name, and whether it is below dir.
func within(dir, name string) (rest string, ok bool) {
	rest, err := filepath.Rel(dir, name)
	if err != nil || rest == ".." || strings.HasPrefix(rest, "../") {
		return "", false
	}
	return rest, true
}
