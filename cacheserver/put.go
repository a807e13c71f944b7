package cacheserver

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"pix/cacheserver/internal/uploads"
	"pix/internal/clientaddr"
	"pix/store"
)

// Nix uploads the listing of an object first, if the cache wants one, then its archive, unless a HEAD request says that it
// exists, and last the narinfo, after the narinfos of all references. Only the narinfo makes a path visible: until then the
// archive is in a spool.

// uploadPrefix is the prefix of the files of the cache as uploaders see it. Below it, only the store that gets the uploads
// is asked, so a GET or HEAD request of a client that uploads neither fetches from an upstream cache, nor finds a path in
// another store, which could not be a reference of an uploaded one.
const uploadPrefix = "/upload"

// An uploadServer accepts uploads.
type uploadServer struct {
	opts      UploadOptions
	uploaders *uploaderSet
	target    store.Store
	sessions  *sessions
	spool     *uploads.Spool
	decoders  *places // bodies with a Content-Encoding that are decoded
	adding    nameLocks
}

// openUploads prepares uploads to one of the stores.
func (h *Handler) openUploads() (err error) {
	u := &uploadServer{opts: *h.opts.Uploads, decoders: newPlaces(h.opts.MaxEncoders)}
	u.opts.setDefaults()
	if err := u.opts.check(); err != nil {
		return err
	}
	if u.target, err = uploadTarget(h.stores); err != nil {
		return err
	}
	if u.uploaders, err = newUploaderSet(u.opts.Uploaders); err != nil {
		return err
	}
	u.spool, err = uploads.Open(&uploads.Options{
		Dir: u.opts.Dir, Quota: u.opts.Quota, Expiry: u.opts.Expiry,
		MaxFile: u.opts.MaxFile, MaxArchive: u.opts.MaxArchive, MaxRatio: u.opts.MaxRatio,
	})
	if err != nil {
		return err
	}
	u.sessions = newSessions(u.target)
	h.uploads = u
	return nil
}

func (u *uploadServer) close() error {
	u.sessions.close()
	return u.spool.Close()
}

// forUploaders returns the handler of the cache as uploaders see it.
func (h *Handler) forUploaders() *Handler {
	seen := *h
	seen.stores, seen.forPushes = []store.Store{h.uploads.target}, true
	return &seen
}

// accepts reports whether files of a kind can be uploaded.
func (h *Handler) accepts(k kind) bool {
	if h.uploads == nil {
		return false
	}
	switch k {
	case kindCacheInfo, kindNarInfo, kindArchive, kindListing, kindLog, kindRealisation, kindTrace, kindDebugInfo:
		return true
	}
	return false
}

// put answers a PUT request. The access is checked before the body is read, so a client that waits for "100 Continue" does not
// send it in vain.
func (h *Handler) put(w *response, r *http.Request, n name) error {
	p := &upload{h: h, uploadServer: h.uploads, w: w, r: r, name: n}
	created, err := p.admitAndReceive()
	if err != nil {
		p.limitRest()
		return p.refusal(err)
	}
	w.Header().Set("Content-Length", "0")
	if created {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusOK)
	}
	return nil
}

// admitAndReceive receives the file if the client may upload it. It reports whether the cache did not have the file.
func (p *upload) admitAndReceive() (created bool, err error) {
	if !p.h.accepts(p.name.kind) {
		return false, p.h.checkMethod(p.r, p.name)
	}
	if p.by, err = p.h.checkUploader(p.w, p.r); err != nil {
		return false, err
	}
	return p.receive(p.r.Context())
}

// checkUploader returns the uploader that sends a request.
func (h *Handler) checkUploader(w http.ResponseWriter, r *http.Request) (*Uploader, error) {
	if by := h.uploads.uploaders.find(r); by != nil && h.mayRead(r) {
		return by, nil
	}
	if h.isPrivate() && h.readTokens.has(tokenOf(r)) {
		return nil, &statusError{http.StatusForbidden, "this token does not permit uploads"}
	}
	return nil, unauthorized(w)
}

// An upload is a PUT request of an uploader.
type upload struct {
	*uploadServer
	h    *Handler
	w    *response
	r    *http.Request
	name name
	by   *Uploader
	body *uploadBody // nil until the body is read
}

// receive receives the file. It reports whether the cache did not have it.
func (p *upload) receive(ctx context.Context) (created bool, err error) {
	switch p.name.kind {
	case kindCacheInfo:
		return false, p.putCacheInfo()
	case kindNarInfo:
		return p.putNarInfo(ctx)
	case kindArchive:
		return p.putArchive(ctx)
	case kindListing:
		return false, p.putListing()
	case kindLog:
		return p.putLog(ctx)
	case kindDebugInfo: // Nix sends it with index-debug-info. Accepting it would promise a file that the cache does not have.
		return false, unacceptable("this cache has no index of debug info: copy without index-debug-info")
	}
	return p.putRealisation(ctx)
}

// spoolName returns the name of an archive in the spool. It reports false for an archive of another kind.
func spoolName(n name) (_ uploads.Name, ok bool) {
	return uploads.Name{FileHash: n.hash, Ext: n.compression}, n.kind == kindArchive && n.hashPart == ""
}

// putArchive receives an archive, which is visible to its uploader alone until its narinfo arrives.
func (p *upload) putArchive(ctx context.Context) (created bool, err error) {
	name, ok := spoolName(p.name)
	if !ok {
		return false, &statusError{http.StatusUnprocessableEntity, "the name of an uploaded archive must be nar/HASH.nar, with the hash of the file and an extension"}
	}
	if coding := p.r.Header.Get("Content-Encoding"); coding != "" {
		return false, &statusError{http.StatusUnsupportedMediaType, "archives are uploaded without Content-Encoding"}
	}
	return true, p.spool.Receive(ctx, senderOf(p.by, p.r), name, p.r.ContentLength, p.open(-1))
}

// senderOf returns the client to whose quota an archive counts that an uploader sends. All clients without a token are one
// uploader, so each network address has a quota of its own.
func senderOf(by *Uploader, r *http.Request) uploads.Sender {
	sender := uploads.Sender{Uploader: by.Name}
	if by.Token == "" {
		sender.Client = clientaddr.ParseNetwork(r.RemoteAddr).String()
	}
	return sender
}

// headUploaded answers a HEAD request for an archive in the spool that the same client has sent. It reports false if there is none.
func (h *Handler) headUploaded(w *response, r *http.Request, n name) bool {
	name, ok := spoolName(n)
	if !ok || h.uploads == nil || r.Method != http.MethodHead {
		return false
	}
	by := h.uploads.uploaders.find(r)
	if by == nil {
		return false
	}
	size, ok := h.uploads.spool.Promise(senderOf(by, r), name)
	if !ok {
		return false
	}
	w.Header().Set("Content-Type", archiveType)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return true
}

// lookUpForPush is lookUp for a request for a narinfo. An uploader that asks for it does not upload a path that the store has, and
// uploads paths that refer to it. So the path is protected from collectors like an uploaded one. A collector may have deleted it
// before, so it is looked up again.
func (h *Handler) lookUpForPush(r *http.Request, hashPart string) (store.Store, *store.PathInfo, error) {
	s, info, err := h.lookUp(r.Context(), hashPart)
	if err != nil || !h.forPushes || h.uploads.uploaders.find(r) == nil {
		return s, info, err
	}
	if err := h.uploads.sessions.protect(r.Context(), info.Path); err != nil {
		return nil, nil, err
	}
	return h.lookUp(r.Context(), hashPart)
}

// cutUploadPrefix returns the path of a request without the prefix for uploaders.
func cutUploadPrefix(escaped string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(escaped, uploadPrefix)
	return rest, ok && strings.HasPrefix(rest, "/")
}
