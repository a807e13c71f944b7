package powercut

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A process applies the calls of a program to a tree, and keeps track of its descriptors.
type process struct {
	dir     string
	tree    *tree // as the program sees it
	created []inode
	files   map[int]*openFile
	ops     []operation
	marks   map[string]int
}

// An openFile is an open file or directory of the tree.
type openFile struct {
	inode    int
	position int
	appends  bool
}

// A location is the result of looking up a name. parent is -1 if the name is not in the tree.
type location struct {
	parent int
	name   string
	inode  int // or -1
}

// run applies all calls. strace may report the end of a call late, after a call of another thread that needs
// its result. So a call that fails is tried again after each call that was running when it ended.
func (p *process) run(calls []call) error {
	done := make([]bool, len(calls))
	for i, c := range calls {
		if done[i] {
			continue
		}
		err := p.do(c)
		for j := i + 1; errors.Is(err, errMissing) && j < len(calls) && calls[j].ended-c.ended < 1000; j++ {
			if calls[j].began > c.ended || done[j] || p.do(calls[j]) != nil {
				continue
			}
			done[j] = true
			err = p.do(c)
		}
		if err != nil {
			return fmt.Errorf("%s(%s) = %s: %w", c.name, shorten(strings.Join(c.args, ", ")), c.result, err)
		}
	}
	return nil
}

var (
	errUnknownCall = errors.New("the model does not have this operation")
	errMissing     = errors.New("the model does not have this file")
)

// do applies one call.
func (p *process) do(c call) error {
	if strings.HasPrefix(c.name, "faccessat") {
		return p.mark(c)
	}
	if !c.ok() {
		return nil
	}
	switch c.name {
	case "open", "openat", "openat2", "creat", "close", "dup", "dup2", "dup3", "fcntl", "lseek", "read":
		return p.descriptor(c)
	case "write", "pwrite64", "truncate", "ftruncate", "fallocate":
		return p.contents(c)
	case "chmod", "fchmod", "fchmodat", "fchmodat2":
		return p.chmod(c)
	case "fsync", "fdatasync":
		if f := p.files[c.arg(0)]; f != nil {
			p.ops = append(p.ops, operation{kind: opSync, inode: f.inode, began: c.began, ended: c.ended, text: c.name + " " + p.nameOf(f.inode)})
		}
		return nil
	case "chdir", "fchdir":
		return errUnknownCall
	case "mmap":
		return p.mmap(c)
	case "ioctl", "sync_file_range", "sync", "syncfs", "msync":
		return nil // calls on terminals, and syncs that the model does not rely on
	}
	return p.names(c)
}

// mark records a mark of the program.
func (p *process) mark(c call) error {
	name, err := unquote(c.args[1])
	if err != nil {
		return err
	}
	if mark, ok := strings.CutPrefix(string(name), markPrefix); ok {
		p.marks[mark] = len(p.ops)
	}
	return nil
}

// lookUp looks up the name in argument i, relative to the directory in argument i-1, or, if at is false, to no
// directory.
func (p *process) lookUp(c call, i int, at bool) (location, error) {
	text, err := unquote(c.args[i])
	if err != nil {
		return location{}, err
	}
	name, dir := string(text), 0
	switch {
	case strings.HasPrefix(name, "/"):
		rest, ok := within(p.dir, name)
		if !ok {
			return location{parent: -1, inode: -1}, nil
		}
		name = rest
	case at && c.args[i-1] != "AT_FDCWD":
		f := p.files[c.arg(i-1)]
		if f == nil {
			return location{parent: -1, inode: -1}, nil
		}
		dir = f.inode
	default:
		return location{parent: -1, inode: -1}, nil // the working directory is outside
	}
	parent, last, n := p.tree.lookup(dir, name)
	return location{parent, last, n}, nil
}

// descriptor applies calls that create, duplicate and close descriptors.
func (p *process) descriptor(c call) error {
	switch c.name {
	case "close":
		delete(p.files, c.arg(0))
	case "dup", "dup2", "dup3":
		p.duplicate(c.arg(0), c.returned())
	case "fcntl":
		if strings.HasPrefix(c.args[1], "F_DUPFD") {
			p.duplicate(c.arg(0), c.returned())
		}
	case "read":
		if f := p.files[c.arg(0)]; f != nil {
			f.position += c.returned()
		}
	case "lseek":
		if f := p.files[c.arg(0)]; f != nil {
			f.position = c.returned()
		}
	default:
		return p.open(c)
	}
	return nil
}

func (p *process) duplicate(from, to int) {
	delete(p.files, to)
	if f := p.files[from]; f != nil {
		p.files[to] = f
	}
}

func (p *process) open(c call) error {
	name, at := 0, c.name != "open" && c.name != "creat"
	if at {
		name = 1
	}
	delete(p.files, c.returned())
	where, err := p.lookUp(c, name, at)
	if err != nil || where.parent < 0 {
		return err
	}
	flags, mode := name+1, name+2
	switch {
	case c.name == "creat", c.name == "openat2" && strings.Contains(c.args[flags], "O_CREAT"):
		return errUnknownCall
	}
	if where.inode < 0 {
		if !c.has(flags, "O_CREAT") {
			return fmt.Errorf("%w: '%s'", errMissing, where.name)
		}
		where.inode = p.create(inode{mode: fs.FileMode(c.arg(mode)) &^ 0o022})
		p.record(c, operation{kind: opLink, inode: where.parent, name: where.name, named: where.inode})
	} else if c.has(flags, "O_TRUNC") && len(p.tree.inodes[where.inode].contents) > 0 {
		p.record(c, operation{kind: opResize, inode: where.inode})
	}
	p.files[c.returned()] = &openFile{inode: where.inode, appends: c.has(flags, "O_APPEND")}
	return nil
}

// create adds an inode without a name.
func (p *process) create(n inode) int {
	p.created = append(p.created, n)
	return p.tree.add(n)
}

// record records an operation, and applies it.
func (p *process) record(c call, op operation) {
	op.began, op.ended = c.began, c.ended
	op.text = c.name + " " + p.nameOf(op.inode)
	switch op.kind {
	case opWrite:
		op.text += fmt.Sprintf(" %d+%d", op.offset, len(op.p))
	case opResize:
		op.text += fmt.Sprint(" ", op.offset)
	case opMode:
		op.text += fmt.Sprint(" ", op.mode)
	case opRename, opExchange:
		op.text += fmt.Sprintf("/%s from %s/%s", op.name, p.nameOf(op.from), op.fromName)
	default:
		op.text += "/" + op.name
	}
	p.ops = append(p.ops, op)
	op.apply(p.tree)
}

// nameOf returns a name of an inode, below the directory.
func (p *process) nameOf(i int) string {
	var find func(dir int, prefix string) (string, bool)
	find = func(dir int, prefix string) (string, bool) {
		if dir == i {
			return prefix, true
		}
		for name, child := range p.tree.inodes[dir].names {
			if found, ok := find(child, prefix+"/"+name); ok {
				return found, true
			}
		}
		return "", false
	}
	if name, ok := find(0, ""); ok {
		return "." + name
	}
	return fmt.Sprintf("(inode %d)", i)
}

// contents applies calls that change the contents of a file.
func (p *process) contents(c call) error {
	if c.name == "truncate" {
		where, err := p.lookUp(c, 0, false)
		if err == nil && where.inode >= 0 {
			p.record(c, operation{kind: opResize, inode: where.inode, offset: c.arg(1)})
		}
		return err
	}
	f := p.files[c.arg(0)]
	if f == nil {
		return nil
	}
	size := len(p.tree.inodes[f.inode].contents)
	switch c.name {
	case "ftruncate":
		p.record(c, operation{kind: opResize, inode: f.inode, offset: c.arg(1)})
		return nil
	case "fallocate":
		if end := c.arg(2) + c.arg(3); c.args[1] == "0" && end > size {
			p.record(c, operation{kind: opResize, inode: f.inode, offset: end})
		} else if c.args[1] != "0" && c.args[1] != "FALLOC_FL_KEEP_SIZE" {
			return errUnknownCall
		}
		return nil
	}
	written, err := unquote(c.args[1])
	if err != nil {
		return err
	}
	op := operation{kind: opWrite, inode: f.inode, p: written[:c.returned()]}
	switch {
	case c.name == "pwrite64":
		op.offset = c.arg(3)
	case f.appends:
		op.offset = size
		f.position = size + len(op.p)
	default:
		op.offset = f.position
		f.position += len(op.p)
	}
	p.record(c, op)
	return nil
}

// mmap refuses mappings through which a file is written. The mappings of SQLite's index of the log do not count:
// after a power cut SQLite rebuilds that file.
func (p *process) mmap(c call) error {
	f := p.files[c.arg(4)]
	if f != nil && c.has(2, "PROT_WRITE") && c.has(3, "MAP_SHARED") && !strings.HasSuffix(p.nameOf(f.inode), "-shm") {
		return errUnknownCall
	}
	return nil
}

func (p *process) chmod(c call) error {
	i, mode := -1, 1
	if c.name == "fchmod" {
		if f := p.files[c.arg(0)]; f != nil {
			i = f.inode
		}
	} else {
		name := 0
		if strings.HasPrefix(c.name, "fchmodat") {
			name, mode = 1, 2
		}
		where, err := p.lookUp(c, name, name == 1)
		if err != nil {
			return err
		}
		i = where.inode
	}
	if i >= 0 {
		p.record(c, operation{kind: opMode, inode: i, mode: fs.FileMode(c.arg(mode)) & os.ModePerm})
	}
	return nil
}

// names applies calls that change names.
func (p *process) names(c call) error {
	at := strings.HasSuffix(c.name, "at") || strings.HasSuffix(c.name, "at2")
	first := 0 // the argument that is the first name
	if at {
		first = 1
	}
	switch strings.TrimSuffix(strings.TrimSuffix(c.name, "2"), "at") {
	case "unlink", "rmdir":
		where, err := p.lookUp(c, first, at)
		if err == nil && where.inode >= 0 {
			p.record(c, operation{kind: opUnlink, inode: where.parent, name: where.name, named: where.inode})
		}
		return err
	case "mkdir", "mknod":
		where, err := p.lookUp(c, first, at)
		if err == nil && where.parent >= 0 {
			mode := fs.FileMode(c.arg(first+1))&os.ModePerm | fs.ModeDir
			if strings.HasPrefix(c.name, "mknod") {
				mode = fs.ModeSocket
			}
			p.record(c, operation{kind: opLink, inode: where.parent, name: where.name, named: p.create(inode{mode: mode})})
		}
		return err
	case "symlink":
		target, err := unquote(c.args[0])
		if err != nil {
			return err
		}
		where, err := p.lookUp(c, len(c.args)-1, at)
		if err == nil && where.parent >= 0 {
			link := p.create(inode{mode: fs.ModeSymlink | 0o777, contents: target})
			p.record(c, operation{kind: opLink, inode: where.parent, name: where.name, named: link})
		}
		return err
	case "link", "rename":
		return p.move(c, first, at)
	}
	return p.unknown(c)
}

// move applies link and rename.
func (p *process) move(c call, first int, at bool) error {
	second := first + 1
	if at {
		second++
	}
	from, err := p.lookUp(c, first, at)
	if err != nil {
		return err
	}
	to, err := p.lookUp(c, second, at)
	if err != nil {
		return err
	}
	if from.inode < 0 && (from.parent >= 0 || to.parent < 0) {
		return nil // a socket, or a file outside of the tree
	}
	if from.inode < 0 || to.parent < 0 {
		return errUnknownCall // a move into or out of the tree
	}
	op := operation{inode: to.parent, name: to.name, named: from.inode, from: from.parent, fromName: from.name, other: to.inode}
	switch {
	case strings.HasPrefix(c.name, "link"):
		op.kind = opLink
	case c.has(second+1, "RENAME_EXCHANGE"):
		op.kind = opExchange
	case from.inode == to.inode:
		return nil
	default:
		op.kind = opRename
	}
	p.record(c, op)
	return nil
}

// unknown returns an error for a call that the model does not have, if it changes a file of the tree.
func (p *process) unknown(c call) error {
	target := 0 // the argument that is the file
	switch c.name {
	case "copy_file_range", "splice":
		target = 2
	}
	if p.files[c.arg(target)] != nil {
		return errUnknownCall
	}
	return nil
}
