package cacheserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"

	"pix/store"
)

// A statusError is an error with the status of its response. The reason is one line without secrets.
type statusError struct {
	status int
	reason string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.reason) }

// errNotFound is the error of a file that the cache does not have.
var errNotFound = &statusError{http.StatusNotFound, "the cache does not have this file"}

// A methodError is the error of a request with a method that the file does not support.
type methodError struct {
	allowed  []string
	isUpload bool // the request is a PUT
}

func (e *methodError) Error() string {
	if e.isUpload {
		return "this cache does not accept uploads of this file"
	}
	return "the method is not one of " + join(e.allowed)
}

// writeError answers a request with an error.
func writeError(w http.ResponseWriter, err error) {
	status, reason := statusOf(err)
	header := w.Header()
	if method, ok := errors.AsType[*methodError](err); ok {
		header.Set("Allow", join(method.allowed))
	}
	if status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "5")
	}
	for _, name := range []string{"Etag", "Content-Encoding", "Accept-Ranges", "Content-Disposition"} {
		header.Del(name)
	}
	text := reason + "\n"
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write([]byte(text))
}

// statusOf returns the status and the reason of a response. The text of an unexpected error may name files of the server,
// so it does not reach the client.
func statusOf(err error) (status int, reason string) {
	var known *statusError
	switch {
	case errors.As(err, &known):
		return known.status, known.reason
	case errors.As(err, new(*methodError)):
		return http.StatusMethodNotAllowed, err.Error()
	case errors.As(err, new(*UpstreamError)):
		return http.StatusBadGateway, "an upstream cache failed"
	case errors.Is(err, store.ErrNotFound), errors.Is(err, errors.ErrUnsupported):
		return errNotFound.status, errNotFound.reason
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "the store did not answer in time"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE): // too many open files: a later request succeeds
		return errBusy.status, errBusy.reason
	}
	return http.StatusInternalServerError, "the store could not be read"
}
