package view

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// access decides which requests are answered. A page of another site can make a browser send requests to this server, and
// with a name that resolves to a loopback address it could read the answers (DNS rebinding). Other users of the machine
// can connect, too. So a request needs a known Host, the origin of the page, and a bearer that only the page has.
type access struct {
	scheme string
	hosts  []string // without the port if it is the default one of the scheme, because browsers leave that out

	mu      sync.Mutex
	tokens  secretSet // each may be exchanged once
	bearers secretSet
}

// maxSecrets is the number of tokens, and of bearers, that are valid at the same time. The oldest ones end first.
const maxSecrets = 64

func newAccess(opts *Options) (*access, error) {
	u, err := url.Parse(opts.Origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || opts.Origin != u.Scheme+"://"+u.Host {
		return nil, fmt.Errorf("'%s' is not the origin of a page, such as http://127.0.0.1:8080", opts.Origin)
	}
	a := &access{scheme: u.Scheme}
	for _, host := range append([]string{u.Host}, opts.OtherHosts...) {
		a.hosts = append(a.hosts, a.withoutDefaultPort(host))
	}
	return a, nil
}

// withoutDefaultPort returns a host without its port, if that is the default one of the scheme. A host with two ports is no
// host, so it stays as it is.
func (a *access) withoutDefaultPort(host string) string {
	byDefault := "80"
	if a.scheme == "https" {
		byDefault = "443"
	}
	_, port, err := net.SplitHostPort(host)
	if err != nil || port != byDefault {
		return host
	}
	return strings.TrimSuffix(host, ":"+port)
}

// isHost reports whether a host is a name of this server.
func (a *access) isHost(host string) bool {
	host = a.withoutDefaultPort(host)
	return slices.ContainsFunc(a.hosts, func(known string) bool { return strings.EqualFold(known, host) })
}

// checkHost returns an error if a request is for another host.
func (a *access) checkHost(r *http.Request) error {
	if !a.isHost(r.Host) {
		return &statusError{http.StatusMisdirectedRequest, "this server has no such host"}
	}
	return nil
}

// checkOrigin returns an error if a page of another origin sends the request. Browsers send it in the headers Origin and
// Sec-Fetch-Site. Programs that are not browsers send neither, which is enough for a GET request with a bearer. strict
// requires one of them.
func (a *access) checkOrigin(r *http.Request, strict bool) error {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case site != "" && site != "same-origin":
	case origin != "" && !a.isOurs(origin):
	case strict && site == "" && origin == "":
	default:
		return nil
	}
	return &statusError{http.StatusForbidden, "the request does not come from the page of this server"}
}

// isOurs reports whether an origin is the one of the page, by one of its names.
func (a *access) isOurs(origin string) bool {
	host, ok := strings.CutPrefix(origin, a.scheme+"://")
	return ok && a.isHost(host)
}

// checkBearer returns an error if a request has no valid bearer.
func (a *access) checkBearer(r *http.Request) error {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	if !strings.EqualFold(scheme, "Bearer") || a.bearers.find(bearer) < 0 {
		return errNoBearer
	}
	return nil
}

var errNoBearer = &statusError{http.StatusUnauthorized, "this page has no right to read the store: open an address that its program prints, which is valid once"}

func (a *access) newToken() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tokens.add()
}

// exchange returns a bearer for a token, which is not valid afterwards.
func (a *access) exchange(token string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.tokens.find(token)
	if at < 0 {
		return "", errUsed
	}
	a.tokens = slices.Delete(a.tokens, at, at+1)
	return a.bearers.add(), nil
}

var errUsed = &statusError{http.StatusForbidden, "this address has been used before: each address opens the page once"}

// A secretSet is a set of secrets, the oldest one first. It has their hashes, so that comparing them takes the same time
// however many bytes are right.
type secretSet [][sha256.Size]byte

// add adds a new secret of 256 random bits.
func (set *secretSet) add() string {
	secret := rand.Text() + rand.Text()
	if len(*set) == maxSecrets {
		*set = slices.Delete(*set, 0, 1)
	}
	*set = append(*set, sha256.Sum256([]byte(secret)))
	return secret
}

// find returns the index of a secret, or -1.
func (set secretSet) find(secret string) int {
	sum, found := sha256.Sum256([]byte(secret)), -1
	for i := range set {
		if subtle.ConstantTimeCompare(set[i][:], sum[:]) == 1 {
			found = i
		}
	}
	return found
}

// serveSession exchanges the token in a JSON object for a bearer.
func (h *Handler) serveSession(w http.ResponseWriter, r *http.Request) error {
	const maxBody = 1 << 10
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if errors.As(err, new(*http.MaxBytesError)) {
		return &statusError{http.StatusRequestEntityTooLarge, "the request is too large"}
	}
	if err != nil {
		return err
	}
	var request struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(body, &request) != nil {
		return &statusError{http.StatusBadRequest, "the request is not a JSON object with a token"}
	}
	bearer, err := h.access.exchange(request.Token)
	if err != nil {
		return err
	}
	return writeJSON(w, r, map[string]string{"bearer": bearer})
}
