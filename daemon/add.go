package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// framedAdd is the first version in which AddToStore accepts any content address, in frames,
// and AddTextToStore is obsolete.
var framedAdd = protocol.MakeVersion(25)

// AddTextToStore adds a text file with references, as builtins.toFile does, and returns its
// path. The references must be valid already. AddTextToStore computes the path itself first. So
// an invalid name or reference is an error ([*storepath.Error]) before anything is sent. If the
// daemon returns another path, the error is an [*AnswerError].
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
		return "", c.otherPath(protocol.AddToStore, got, want)
	}
	return got, nil
}

func (c *Conn) addText(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	if c.Version() < framedAdd {
		req := &protocol.AddTextToStoreRequest{Name: name, Contents: contents, References: references}
		reply, err := invoke[protocol.PathReply](ctx, c, req)
		return reply.Path, err
	}
	req := &protocol.AddToStoreRequest{Name: name, Method: storepath.Text, Algorithm: nixhash.SHA256, References: references}
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, readerBody(strings.NewReader(contents)))
	return reply.Info.Path, err
}

// AddToStore adds an object with given contents: the plain file for Text and Flat, otherwise
// its archive. The daemon computes the path. Unless the method is Git, the client computes it, too,
// and if they differ, the error is an [*AnswerError]. The references must be valid already. If the
// daemon does not support the method or the algorithm, the error is [errors.ErrUnsupported],
// and nothing is read or sent. Since protocol 1.25, the same is true of the error ([*storepath.Error])
// for a name, method and references that no object can have together.
//
// Contents are read on another goroutine, but not after AddToStore has returned: see the
// package documentation for a Read that blocks. If they cannot be read to their end, the
// connection is broken, because a part was sent already. A panic of contents is raised again
// here.
//
// Before protocol 1.25 references, repair and the method Git are not supported. Contents of
// Text and Flat are read completely before anything is sent: a text of at most 64 MiB into
// memory, and a file of more than 1 MiB into a temporary file.
func (c *Conn) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	if err := c.checkMethod(m, a); err != nil {
		return nil, err
	}
	o := addOptions(opts)
	hash := newContentHash(m, a)
	contents = hash.reader(contents)
	info, err := c.addContents(ctx, name, m, a, references, contents, o)
	if err == nil {
		err = c.checkAdded(protocol.AddToStore, name, hash, references, info)
	}
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (c *Conn) addContents(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, o store.AddOptions) (*store.PathInfo, error) {
	if c.Version() < framedAdd {
		return c.addOld(ctx, name, m, a, references, contents, o)
	}
	if err := c.checkAddable(name, m, a, references); err != nil {
		return nil, err
	}
	req := &protocol.AddToStoreRequest{Name: name, Method: m, Algorithm: a, References: references, Repair: o.Repair}
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, readerBody(contents))
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

// addOld adds an object before 1.25. Then a file is sent as an archive, and the reply has only
// the path.
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
	b := archiveBody(contents, 0)
	if m == storepath.Flat {
		file, err := spoolAll(ctx, contents)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		b = fileArchiveBody(file)
	}
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, b)
	if err != nil {
		return nil, err
	}
	return c.QueryPathInfo(ctx, reply.Info.Path)
}

// AddToStoreNAR adds an object with a given path info. The archive is read as [Conn.AddToStore]
// reads contents, up to the size in info. The daemon verifies it. It also requires a signature
// of a trusted key, unless opts disable this and the daemon trusts the user.
//
// If the archive cannot be read to its end, the connection is broken, except in protocols 1.21
// and 1.22.
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
	if c.exclusiveOnly || row.Body(c.params) == protocol.NARBody {
		size = 0 // the daemon parses the archive to find its end, and ignores the size in info
	}
	_, err := upload[protocol.None](ctx, c, req, archiveBody(nar, size))
	return err
}

// AddBuildLog adds the build log of a derivation, uncompressed. It needs protocol 1.33 and a
// trusted user ([*protocol.TrustError]). Before protocol 1.35 the trust is unknown, and the
// daemon itself refuses the log.
func (c *Conn) AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error {
	_, err := upload[protocol.Ack](ctx, c, &protocol.AddBuildLogRequest{Path: drv}, readerBody(log))
	return err
}

// AddMultipleToStore adds n objects in one stream. References must come before the objects that
// refer to them. The sequence and the archives are read on another goroutine, as
// [Conn.AddToStore] reads contents. An error in the sequence ends the upload and breaks the
// connection. Objects that were added before it stay.
//
// Before protocol 1.32 the objects are added one by one, on the caller's goroutine.
func (c *Conn) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	o := addOptions(opts)
	req := &protocol.AddMultipleToStoreRequest{Repair: o.Repair, DontCheckSigs: o.NoSignatures}
	if c.params.Check(req.Op()) != nil {
		return c.addOneByOne(ctx, n, objects, opts)
	}
	_, err := upload[protocol.None](ctx, c, req, func(w io.Writer, over <-chan struct{}) error {
		return c.writeObjects(w, over, n, objects)
	})
	return err
}

// writeObjects writes the number of objects, and then each object.
func (c *Conn) writeObjects(w io.Writer, over <-chan struct{}, n int, objects iter.Seq2[store.Import, error]) error {
	head := wire.AppendUint64(nil, uint64(n))
	for object, err := range objects {
		if err == nil && n == 0 {
			err = errTooManyObjects
		}
		if err == nil {
			if head, err = c.params.AppendPathInfo(head, object.Info); err != nil {
				err = &store.InfoError{Path: object.Info.Path, Err: err}
			}
		}
		if err != nil {
			return &bodyError{err}
		}
		if _, err := w.Write(head); err != nil {
			return err
		}
		size := object.Info.NARSize
		if c.exclusiveOnly {
			size = 0 // the daemon checks the size
		}
		if err := archiveBody(object.NAR, size)(w, over); err != nil {
			return err
		}
		if isClosed(over) { // do not produce an object that is not needed
			return errStopped
		}
		head = head[:0]
		n--
	}
	if n != 0 {
		return &bodyError{fmt.Errorf("%d objects are missing", n)}
	}
	_, err := w.Write(head)
	return err
}

var errTooManyObjects = errors.New("there are more objects than announced")

func (c *Conn) addOneByOne(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	for object, err := range objects {
		if err == nil && n == 0 {
			err = errTooManyObjects
		}
		if err != nil {
			return &bodyError{err}
		}
		if _, err := c.params.AppendPathInfo(nil, object.Info); err != nil {
			return &store.InfoError{Path: object.Info.Path, Err: err}
		}
		if err := c.AddToStoreNAR(ctx, object.Info, object.NAR, opts); err != nil {
			return err
		}
		n--
	}
	if n != 0 {
		return &bodyError{fmt.Errorf("%d objects are missing", n)}
	}
	return nil
}

// The first releases of Nix that support a method or an algorithm, and their protocol versions.
// Nix 2.20 to 2.23 speak 1.37, later ones 1.38.
var (
	gitRelease    = nixRelease{2, 21, protocol.MakeVersion(37)}
	blake3Release = nixRelease{2, 27, protocol.MakeVersion(38)}
)

// A nixRelease is a version of Nix and its protocol version.
type nixRelease struct {
	major, minor int
	speaks       protocol.Version
}

// A methodError reports that an object was not sent, because the daemon does not support its
// kind of content address. It matches [errors.ErrUnsupported].
type methodError struct {
	method    storepath.Method
	algorithm nixhash.Algorithm
	reason    string
}

func (e *methodError) Error() string {
	return fmt.Sprintf("cannot add by method %s with %s: %s", e.method, e.algorithm, e.reason)
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *methodError) Is(target error) bool { return target == errors.ErrUnsupported }

// checkMethod returns a [*methodError] if the daemon does not support such a content address.
// Nix would refuse the request and read the contents as the next one. A daemon that supports
// the method may still refuse it, if its experimental feature is disabled.
func (c *Conn) checkMethod(m storepath.Method, a nixhash.Algorithm) error {
	why := ""
	switch {
	case m == storepath.Text && a != nixhash.SHA256:
		why = "texts are addressed by their sha256"
	case m == storepath.Git && a != nixhash.SHA1 && a != nixhash.SHA256:
		why = "git objects are addressed by their sha1 or sha256"
	case m == storepath.Git:
		why = c.olderThan(gitRelease)
	case a == nixhash.BLAKE3:
		why = c.olderThan(blake3Release)
	}
	if why == "" {
		return nil
	}
	return &methodError{m, a, why}
}

// olderThan returns an explanation if the daemon is certainly older than a release of Nix,
// otherwise "". It ignores a version of the daemon that does not have the form of Nix's.
func (c *Conn) olderThan(r nixRelease) string {
	if c.Version() < r.speaks {
		return fmt.Sprintf("the daemon speaks protocol %s, but Nix %d.%d or later is needed, which speaks %s", c.Version(), r.major, r.minor, r.speaks)
	}
	major, minor, ok := parseNixVersion(c.NixVersion())
	if ok && (major < r.major || major == r.major && minor < r.minor) {
		return fmt.Sprintf("the daemon is Nix %s, but %d.%d or later is needed", c.NixVersion(), r.major, r.minor)
	}
	return ""
}

// parseNixVersion returns the first two numbers of a version such as "2.34.8" or
// "2.24pre20240827_d5e5a1b".
func parseNixVersion(s string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(s, ".")
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		rest = rest[:end]
	}
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(rest)
	return major, minor, err == nil
}
