package view

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pix/storepath"
)

// queryTimeout is the time in which a query must be answered. Reading a large archive could take hours. It is shorter than
// writeTimeout, after which the client cannot receive the error.
const queryTimeout = 45 * time.Second

var errQueryTimeout = &statusError{http.StatusGatewayTimeout, fmt.Sprintf("the answer takes more than %v, because an archive or a closure is very large; the verbs of pix, such as why-depends and explain, have no such limit", queryTimeout)}

// A queryFunc returns the answer to a request about store paths, as a value that has a JSON form. It ends with the context of
// the request.
type queryFunc func(r *http.Request, paths []storepath.Path) (any, error)

// query returns a handler for requests with a store path in each of the parameters. Few queries run at the same time, because
// they compute or read much. Others wait for them.
func (h *Handler) query(answer queryFunc, parameters ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		paths := make([]storepath.Path, len(parameters))
		for i, name := range parameters {
			var err error
			if paths[i], err = h.store.Dir().Parse(r.URL.Query().Get(name)); err != nil {
				return &statusError{http.StatusBadRequest, fmt.Sprintf("the parameter %s: %v", name, err)}
			}
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), queryTimeout, errQueryTimeout)
		defer cancel()
		v, err := h.work.run(ctx, func() (any, error) { return answer(r.WithContext(ctx), paths) })
		if err != nil && errors.Is(context.Cause(ctx), errQueryTimeout) {
			return errQueryTimeout
		}
		if err != nil {
			return err
		}
		return writeJSON(w, r, v)
	}
}

// workers limits how many functions run at the same time. It has an element for each one that runs.
type workers chan struct{}

// run waits until few other functions run, and then runs f. If the context ends before, it returns the cause.
func (w workers) run(ctx context.Context, f func() (any, error)) (any, error) {
	select {
	case w <- struct{}{}:
		defer func() { <-w }()
		return f()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
