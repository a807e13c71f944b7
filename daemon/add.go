package daemon

import (
	"context"
	"fmt"
	"io"
	"strings"

	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// framedAdd is the version from which AddToStore takes any content address, in frames, and
// AddTextToStore is obsolete.
var framedAdd = protocol.MakeVersion(25)

// AddTextToStore adds a file with those contents and references, as builtins.toFile does,
// and returns its path. The references must be valid already. The path is computed here
// first, so that a name or reference that is not valid is an error before anything is
// sent ([*storepath.Error]); a daemon that comes to another path is an error too.
func (c *Conn) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	want, err := c.Dir().TextPath(name, nixhash.Sum(nixhash.SHA256, []byte(contents)), references)
	if err != nil {
		return "", err
	}
	got, err := c.addText(ctx, name, contents, references)
	if err != nil {
		return "", err
	}
	if got != want {
		return "", fmt.Errorf("the daemon added '%s' as '%s', not as '%s': is its store directory %s?", name, got, want, c.Dir())
	}
	return got, nil
}

func (c *Conn) addText(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	if c.Version() < framedAdd {
		req := &protocol.AddTextToStoreRequest{Name: name, Contents: contents, References: references}
		reply, err := ask[protocol.PathReply](ctx, c, req)
		return reply.Path, err
	}
	req := &protocol.AddToStoreRequest{Name: name, Method: storepath.Text, Algorithm: nixhash.SHA256, References: references}
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, all(strings.NewReader(contents)))
	return reply.Info.Path, err
}

// AddToStore adds an object by its contents: the file itself for Text and Flat, else its
// archive. The daemon computes the path; the references must be valid already. A method or an
// algorithm that the daemon certainly does not know is [errors.ErrUnsupported], and nothing is
// read or sent.
//
// Contents are read on another goroutine, but not after AddToStore has returned: see the
// package documentation for a Read that blocks. If they cannot be read to their end, the
// connection is broken, since a part was sent and cannot be taken back. A panic of contents is raised
// again here.
//
// Before protocol 1.25 there are neither references, nor repair, nor the method Git. All
// contents of Text and Flat are read before anything is sent: a text into memory, of 64 MiB at
// most, and a file of more than 1 MiB into a temporary file.
func (c *Conn) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	if err := c.checkMethod(m, a); err != nil {
		return nil, err
	}
	o := addOptions(opts)
	if c.Version() < framedAdd {
		return c.addOld(ctx, name, m, a, references, contents, o)
	}
	req := &protocol.AddToStoreRequest{Name: name, Method: m, Algorithm: a, References: references, Repair: o.Repair}
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, all(contents))
	if err != nil {
		return nil, err
	}
	return &reply.Info, nil
}

func addOptions(opts *store.AddOptions) store.AddOptions {
	if opts == nil {
		return store.AddOptions{}
	}
	return *opts
}

// addOld adds an object before 1.25, when a file was sent as an archive, and only the path
// came back.
func (c *Conn) addOld(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, o store.AddOptions) (*store.PathInfo, error) {
	if m == storepath.Text && a == nixhash.SHA256 && !o.Repair {
		text, err := readText(ctx, contents)
		if err != nil {
			return nil, err
		}
		path, err := c.AddTextToStore(ctx, name, text, references)
		if err != nil {
			return nil, err
		}
		return c.QueryPathInfo(ctx, path)
	}
	req := &protocol.AddToStoreRequest{Name: name, Method: m, Algorithm: a, References: references, Repair: o.Repair}
	if _, err := c.params.AppendRequest(nil, req); err != nil { // before anything is read
		return nil, err
	}
	b := archive(contents, 0)
	if m == storepath.Flat {
		file, err := spoolAll(ctx, contents)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		b = fileArchive(file)
	}
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, b)
	if err != nil {
		return nil, err
	}
	return c.QueryPathInfo(ctx, reply.Info.Path)
}

// AddToStoreNAR adds an object whose path info is known. The archive is read as
// [Conn.AddToStore] reads contents, and only as many bytes as info says that it has. The
// daemon verifies it, and, unless opts say otherwise and it trusts us, that a key that it
// trusts has signed the path.
//
// If the archive cannot be read to its end, the connection is broken, except between protocol
// 1.21 and 1.22.
func (c *Conn) AddToStoreNAR(ctx context.Context, info *store.PathInfo, nar io.Reader, opts *store.AddOptions) error {
	if ca := info.CA; !ca.IsZero() {
		if err := c.checkMethod(ca.Method(), ca.Hash().Algorithm()); err != nil {
			return err
		}
	}
	o := addOptions(opts)
	req := &protocol.AddToStoreNarRequest{Info: *info, Repair: o.Repair, DontCheckSigs: o.NoSignatures}
	size := info.NARSize
	row, _ := protocol.Lookup(req.Op())
	if c.alone || row.Body(c.params) == protocol.NARBody {
		size = 0 // the daemon parses the archive to find its end, and ignores the size in info
	}
	_, err := upload[protocol.None](ctx, c, req, archive(nar, size))
	return err
}

// AddBuildLog adds the log of a derivation, uncompressed. It needs protocol 1.33, and a
// trusted user ([*protocol.TrustError]). Before protocol 1.35 the daemon cannot be asked
// whether it trusts us: it refuses the log then.
func (c *Conn) AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error {
	_, err := upload[protocol.Ack](ctx, c, &protocol.AddBuildLogRequest{Path: drv}, all(log))
	return err
}
