package sandbox

import (
	"encoding/binary"
	"errors"
)

// A coder writes values to data, or reads them from it. One function lists the fields of a message for both
// directions, so that they cannot differ. Writing changes no value: requests may be shared. Strings are bytes: names
// of files and environments need not be UTF-8.
type coder struct {
	data    []byte
	reading bool
	err     error
}

var errMalformed = errors.New("sandbox: malformed message")

func (c *coder) uint(p *uint64) {
	if !c.reading {
		c.data = binary.LittleEndian.AppendUint64(c.data, *p)
		return
	}
	if len(c.data) < 8 {
		c.err = errMalformed
		c.data, *p = nil, 0
		return
	}
	*p = binary.LittleEndian.Uint64(c.data)
	c.data = c.data[8:]
}

func (c *coder) int(p *int) {
	n := uint64(*p)
	c.uint(&n)
	if c.reading {
		*p = int(int64(n))
	}
}

func (c *coder) bool(p *bool) {
	var n uint64
	if *p {
		n = 1
	}
	c.uint(&n)
	if c.reading {
		*p = n != 0
	}
}

func (c *coder) bytes(p *[]byte) {
	n := uint64(len(*p))
	c.uint(&n)
	if !c.reading {
		c.data = append(c.data, *p...)
		return
	}
	if n > uint64(len(c.data)) {
		c.err = errMalformed
		n = 0
	}
	*p = c.data[:n:n]
	c.data = c.data[n:]
}

func (c *coder) string(p *string) {
	b := []byte(*p)
	c.bytes(&b)
	if c.reading {
		*p = string(b)
	}
}

func (c *coder) strings(p *[]string) { list(c, p, (*coder).string) }
func (c *coder) ints(p *[]int)       { list(c, p, (*coder).int) }

// list writes or reads a list. A list that is read has at most as many elements as there are bytes.
func list[T any](c *coder, p *[]T, element func(*coder, *T)) {
	n := uint64(len(*p))
	c.uint(&n)
	if c.reading {
		if n > uint64(len(c.data)) {
			c.err = errMalformed
			return
		}
		*p = make([]T, n)
	}
	for i := range *p {
		element(c, &(*p)[i])
	}
}

// A message is a type that a coder can write and read.
type message interface{ code(*coder) }

func encode(m message) []byte {
	var c coder
	m.code(&c)
	return c.data
}

func decode(data []byte, m message) error {
	c := coder{data: data, reading: true}
	m.code(&c)
	if c.err == nil && len(c.data) > 0 {
		return errMalformed
	}
	return c.err
}

func (r *Request) code(c *coder) {
	c.string(&r.Program)
	c.strings(&r.Args)
	c.strings(&r.Env)
	c.string(&r.Dir)
	c.string(&r.Root)
	c.string(&r.Remount)
	list(c, &r.Mounts, func(c *coder, m *Mount) {
		c.string(&m.Source)
		c.string(&m.Target)
		c.bool(&m.ReadOnly)
		c.bool(&m.Optional)
	})
	c.strings(&r.Writable)
	c.bool(&r.RootWritable)
	c.bool(&r.Memory)
	list(c, &r.Files, func(c *coder, f *File) {
		c.string(&f.Name)
		c.string(&f.Text)
	})
	for _, p := range []*int{&r.UID, &r.GID, &r.HostUID, &r.HostGID, &r.IDs} {
		c.int(p)
	}
	c.ints(&r.Groups)
	c.bool(&r.KeepGroups)
	c.bool(&r.Network)
	c.string(&r.System)
	c.bool(&r.Linux26)
	c.string(&r.SharedMemory)
	c.string(&r.Cgroup)
	c.bool(&r.OptionalFilter)
	c.string(&r.Builtin)
	c.bytes(&r.Input)
	c.string(&r.shared)
	c.bool(&r.oldMounts)
}
