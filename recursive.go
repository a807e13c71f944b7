package pix

import (
	"context"
	"net"
	"strings"

	"pix/activity"
	"pix/server"
	"pix/store"
)

// builderClients is how many connections a builder may have at once.
const builderClients = 128

// ServeBuilder serves a store to the clients of a builder with the feature recursive-nix: see [realise.Settings]. They
// are not trusted, and share a memory budget, which no client of another build uses.
func ServeBuilder(ctx context.Context, l net.Listener, s store.Store) error {
	srv := &server.Server{Store: s, MaxClients: builderClients, MaxClientsPerUser: builderClients}
	if h := activity.HandlerOf(ctx); h != nil {
		ctx = activity.WithHandler(ctx, connectionLog{h})
	}
	return srv.Serve(ctx, l)
}

// A connectionLog passes on why connections of a builder were closed, for users who debug it. A builder can cause any
// number of these messages, so they have a level that few ask for.
type connectionLog struct{ activity.Handler }

func (c connectionLog) HandleEvent(e activity.Event) {
	if log, ok := e.(activity.Log); ok && strings.HasPrefix(log.Text, "closed ") {
		log.Level = activity.LevelDebug
		c.Handler.HandleEvent(log)
	}
}
