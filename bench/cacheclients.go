package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// cacheClients are clients of a cache by HTTP/1.1, each with a connection of its own.
type cacheClients struct {
	Address string
	Idle    int // number of clients that send one request, and then nothing
	Busy    []clientGroup
}

// A clientGroup is a number of clients that request the same files. Together they request each file Passes times, or, if there are
// more clients than files, each client requests all files.
type clientGroup struct {
	Clients  int
	Passes   int
	Targets  []string
	Encoding string // the header Accept-Encoding
}

// runCacheClients runs the clients in a JSON file.
func runCacheClients(args []string) (time.Duration, error) {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return 0, err
	}
	var c cacheClients
	if err := json.Unmarshal(text, &c); err != nil {
		return 0, err
	}
	for range c.Idle {
		idle, err := dialCache(c.Address)
		if err != nil {
			return 0, err
		}
		defer idle.nc.Close()
		if err := idle.get("/nix-cache-info", ""); err != nil {
			return 0, err
		}
	}
	return repeat(1, func() error {
		var g errgroup.Group
		for _, group := range c.Busy {
			for i := range group.Clients {
				g.Go(func() error { return group.run(c.Address, i) })
			}
		}
		return g.Wait()
	})
}

// run does the work of one client.
func (g *clientGroup) run(address string, i int) error {
	c, err := dialCache(address)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	step := g.Clients
	if g.Clients >= len(g.Targets) {
		i, step = 0, 1
	}
	for range g.Passes {
		for ; i < len(g.Targets); i += step {
			if err := c.get(g.Targets[i], g.Encoding); err != nil {
				return err
			}
		}
		i -= len(g.Targets)
	}
	return nil
}

// A cacheClient is a connection. It does as little as possible, so that the server determines the time.
type cacheClient struct {
	nc  net.Conn
	in  *bufio.Reader
	out []byte
}

func dialCache(address string) (*cacheClient, error) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &cacheClient{nc: nc, in: bufio.NewReaderSize(nc, 64<<10)}, nil
}

// get requests a file, and reads it. A server that is busy is asked again.
func (c *cacheClient) get(target, encoding string) error {
	for {
		c.out = fmt.Appendf(c.out[:0], "GET %s HTTP/1.1\r\nHost: localhost\r\n", target)
		if encoding != "" {
			c.out = fmt.Appendf(c.out, "Accept-Encoding: %s\r\n", encoding)
		}
		if _, err := c.nc.Write(append(c.out, "\r\n"...)); err != nil {
			return err
		}
		response, err := http.ReadResponse(c.in, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		switch response.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusServiceUnavailable:
			time.Sleep(100 * time.Millisecond)
		default:
			return fmt.Errorf("%s: %s", target, response.Status)
		}
	}
}
