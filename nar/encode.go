package nar

import "pix/wire"

// What stands between the variable parts of an archive never changes, so it is
// encoded once.
var (
	magicBytes      = tags(Magic)
	entryBytes      = tags("entry", "(", "name")
	nodeBytes       = tags("node")
	directoryBytes  = tags("(", "type", "directory")
	symlinkBytes    = tags("(", "type", "symlink", "target")
	fileBytes       = tags("(", "type", "regular", "contents")
	executableBytes = tags("(", "type", "regular", "executable", "", "contents")
	endBytes        = tags(")")
)

// maxEntryBytes is more than what the encoding of any entry needs, without contents.
const maxEntryBytes = MaxNameLen + MaxTargetLen + 256

func tags(list ...string) string {
	var b []byte
	for _, s := range list {
		b = wire.AppendString(b, s)
	}
	return string(b)
}

// appendNode appends an entry up to where its contents begin. What must follow is
// for a file its contents, their padding and [appendEnd]; for a directory its
// entries and [appendEnd]; for a symlink [appendEnd] alone.
func appendNode(dst []byte, e *Entry) []byte {
	if e.Depth == 0 {
		dst = append(dst, magicBytes...)
	} else {
		dst = append(dst, entryBytes...)
		dst = wire.AppendString(dst, e.Name)
		dst = append(dst, nodeBytes...)
	}
	switch {
	case e.Kind == Directory:
		dst = append(dst, directoryBytes...)
	case e.Kind == Symlink:
		dst = append(dst, symlinkBytes...)
		dst = wire.AppendString(dst, e.Target)
	case e.Executable:
		dst = append(dst, executableBytes...)
		dst = wire.AppendUint64(dst, e.Size)
	default:
		dst = append(dst, fileBytes...)
		dst = wire.AppendUint64(dst, e.Size)
	}
	return dst
}

// appendEnd appends the end of a node of that depth, and that of the entry which it
// is in its directory.
func appendEnd(dst []byte, depth int) []byte {
	dst = append(dst, endBytes...)
	if depth > 0 {
		dst = append(dst, endBytes...)
	}
	return dst
}
