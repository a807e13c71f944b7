package cacheserver

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pix/internal/unsupported"
	"pix/store"
)

// UploadOptions configure how a [Handler] accepts uploads.
type UploadOptions struct {
	// Uploaders are the clients that may upload. There must be at least one.
	Uploaders []Uploader

	// Dir is the directory of archives whose narinfos have not arrived yet. No other process may use it. "" is a temporary
	// directory, which remains if the process is killed.
	Dir string

	// Quota is the number of bytes of such archives of an uploader; 0 is 32 GiB. Each network address, or /64 of IPv6, has its own
	// among the clients without a token, which together have four times as much. Loopback addresses and Unix sockets have one
	// in common. Expiry is the time after which such archives are deleted; 0 is an hour.
	Quota  int64
	Expiry time.Duration

	// MaxFile is the largest size of an archive as it is uploaded, in bytes; 0 is 16 GiB. MaxArchive is the largest size of
	// a decompressed one; 0 is 32 GiB. MaxRatio is how many times larger it may be than the uploaded one if it is larger
	// than 64 MiB; 0 is 1000.
	MaxFile, MaxArchive, MaxRatio int64

	// MaxLog is the largest size of a build log in bytes; 0 is 64 MiB.
	MaxLog int64
}

// An Uploader is a client that may upload.
type Uploader struct {
	// Name is the name of the uploader in events. Uploaders with different names have separate quotas.
	Name string

	// Token is the token of the uploader: see [Options.ReadTokens]. It also permits reading. "" is every client that may read.
	Token string

	// Trusted accepts objects and realisations without a signature by one of [Options.TrustedKeys], and build logs, which
	// cannot be signed.
	Trusted bool
}

// setDefaults replaces zero values by the defaults.
func (o *UploadOptions) setDefaults() {
	o.MaxLog = cmp.Or(o.MaxLog, 64<<20)
}

// check returns an error if the options are not useful. It does not contain a token.
func (o *UploadOptions) check() error {
	if len(o.Uploaders) == 0 {
		return errors.New("uploads are accepted, but there is no uploader")
	}
	tokens := make(map[string]bool)
	for _, u := range o.Uploaders {
		if tokens[u.Token] {
			return fmt.Errorf("the uploader %q has the token of another one", u.Name)
		}
		tokens[u.Token] = true
	}
	return nil
}

// uploadTarget returns the first store to which objects can be added.
func uploadTarget(stores []store.Store) (store.Store, error) {
	for _, s := range stores {
		if addsObjects(s) {
			return s, nil
		}
	}
	return nil, unsupported.Errorf("uploads are accepted, but no store can add objects")
}

// An uploaderSet finds uploaders by their tokens.
type uploaderSet struct {
	known   []Uploader
	tokens  []tokenSet // of the known ones
	anybody *Uploader  // without a token
}

func newUploaderSet(all []Uploader) (*uploaderSet, error) {
	set := new(uploaderSet)
	for i := range all {
		if all[i].Token == "" {
			set.anybody = &all[i]
			continue
		}
		token, err := newTokenSet([]string{all[i].Token})
		if err != nil {
			return nil, fmt.Errorf("uploader %q: %w", all[i].Name, err)
		}
		set.known, set.tokens = append(set.known, all[i]), append(set.tokens, token)
	}
	return set, nil
}

// find returns the uploader with the token of a request, or nil. It compares the token with all tokens, so that the time
// says nothing about them.
func (set *uploaderSet) find(r *http.Request) *Uploader {
	if set == nil {
		return nil
	}
	token := tokenOf(r)
	found := set.anybody
	for i := range set.known {
		if set.tokens[i].has(token) {
			found = &set.known[i]
		}
	}
	return found
}
