package powercut

import "io/fs"

type opKind int

const (
	opWrite    opKind = iota // p at an offset of a file
	opResize                 // a file
	opMode                   // of a file or directory
	opLink                   // a name in a directory
	opUnlink                 // a name in a directory
	opRename                 // from a name in another directory
	opExchange               // two names
	opSync                   // a file or directory
)

// An operation changes an inode, or syncs it. It is durable when the inode was synced after it.
type operation struct {
	kind         opKind
	inode        int // the file, or the directory with the name
	began, ended int
	text         string

	offset int // or size
	p      []byte
	mode   fs.FileMode

	name     string
	named    int // the inode that gets or loses the name
	from     int // the directory of the other name, for renames
	fromName string
	other    int // the inode that had name, for exchanges
}

func (op *operation) changes() bool { return op.kind != opSync }

// apply makes the change in a tree in which earlier operations may be missing.
func (op *operation) apply(t *tree) {
	switch op.kind {
	case opWrite:
		t.put(op.inode, op.offset, op.p)
	case opResize:
		t.resize(op.inode, op.offset)
	case opMode:
		t.inodes[op.inode].mode = t.inodes[op.inode].mode.Type() | op.mode
	case opLink:
		t.link(op.inode, op.name, op.named)
	case opUnlink:
		t.unlink(op.inode, op.name, op.named)
	case opRename:
		t.unlink(op.from, op.fromName, op.named)
		t.link(op.inode, op.name, op.named)
	case opExchange:
		t.link(op.from, op.fromName, op.other)
		t.link(op.inode, op.name, op.named)
	}
}
