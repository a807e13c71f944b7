// Drawing many points and lines with WebGL. The positions are uploaded once, so a frame costs a few calls.

// A Camera says which part of the plane is in sight: the point in the middle, and pixels per unit.
export interface Camera {
  x: number;
  y: number;
  scale: number;
}

// States of points. The numbers stand in the shader, too.
export const State = { normal: 0, dim: 1, needs: 2, neededBy: 3, selected: 4 } as const;

// Colours are the colours of states and lines, as parts from 0 to 1.
export interface Colours {
  states: readonly (readonly [number, number, number, number])[]; // by State
  line: readonly [number, number, number];
  needs: readonly [number, number, number];
  neededBy: readonly [number, number, number];
}

const pointVertex = `#version 300 es
in vec2 position;
in float radius;
in float state;
uniform vec2 centre, viewport;
uniform float scale, ratio;
uniform vec4 colours[5];
out vec4 colour;
out float size;
void main() {
  vec2 at = (position - centre) * scale * 2.0 / viewport;
  gl_Position = vec4(at.x, -at.y, 0.0, 1.0);
  size = clamp(radius * scale * 2.0, state > 1.5 ? 3.5 : 1.5, 200.0) * ratio + 1.0;
  gl_PointSize = size;
  colour = colours[int(state + 0.5)];
}`;

const pointFragment = `#version 300 es
precision mediump float;
in vec4 colour;
in float size;
out vec4 result;
void main() {
  float away = length(gl_PointCoord - 0.5) * size;
  float alpha = colour.a * clamp(size * 0.5 - away, 0.0, 1.0);
  result = vec4(colour.rgb * alpha, alpha);
}`;

const lineVertex = `#version 300 es
in vec3 end;
uniform vec2 centre, viewport;
uniform float scale;
out float weight;
void main() {
  vec2 at = (end.xy - centre) * scale * 2.0 / viewport;
  gl_Position = vec4(at.x, -at.y, 0.0, 1.0);
  weight = end.z;
}`;

const lineFragment = `#version 300 es
precision mediump float;
uniform vec4 colour;
in float weight;
out vec4 result;
void main() {
  float alpha = max(colour.a * weight, 0.004); // less than that is nothing on a screen
  result = vec4(colour.rgb * alpha, alpha);
}`;

export class Renderer {
  private readonly gl: WebGL2RenderingContext;
  private readonly points: WebGLProgram;
  private readonly lines: WebGLProgram;
  private readonly pointArray: WebGLVertexArrayObject;
  private readonly stateBuffer: WebGLBuffer;
  private readonly allLines: { array: WebGLVertexArrayObject; count: number };
  private readonly someLines: { array: WebGLVertexArrayObject; buffer: WebGLBuffer; needs: number; neededBy: number };
  private readonly uniforms = new Map<string, WebGLUniformLocation | null>();
  private highlighted = false;

  // The constructor uploads the points, and the lines: for each the coordinates and the weight of one end, then the same of
  // the other one. It throws without WebGL 2.
  constructor(
    canvas: HTMLCanvasElement,
    private readonly count: number,
    positions: Float32Array,
    radii: Float32Array,
    lines: Float32Array,
    private readonly colours: () => Colours,
  ) {
    const gl = canvas.getContext("webgl2", { antialias: true, premultipliedAlpha: true, alpha: true });
    if (!gl) throw new Error("This browser cannot draw the graph: it has no WebGL 2. The other views show the same paths.");
    this.gl = gl;
    this.points = program(gl, pointVertex, pointFragment);
    this.lines = program(gl, lineVertex, lineFragment);
    this.pointArray = gl.createVertexArray()!;
    gl.bindVertexArray(this.pointArray);
    attribute(gl, this.points, "position", 2, gl.FLOAT, positions, gl.STATIC_DRAW);
    attribute(gl, this.points, "radius", 1, gl.FLOAT, radii, gl.STATIC_DRAW);
    this.stateBuffer = attribute(gl, this.points, "state", 1, gl.UNSIGNED_BYTE, new Uint8Array(count), gl.DYNAMIC_DRAW);
    const array = gl.createVertexArray()!;
    gl.bindVertexArray(array);
    attribute(gl, this.lines, "end", 3, gl.FLOAT, lines, gl.STATIC_DRAW);
    this.allLines = { array, count: lines.length / 3 };
    const some = gl.createVertexArray()!;
    gl.bindVertexArray(some);
    this.someLines = { array: some, buffer: attribute(gl, this.lines, "end", 3, gl.FLOAT, new Float32Array(0), gl.DYNAMIC_DRAW), needs: 0, neededBy: 0 };
    gl.bindVertexArray(null);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  // highlight sets the states of the points and the lines that stand out.
  highlight(states: Uint8Array, needs: Float32Array, neededBy: Float32Array): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.stateBuffer);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, states);
    const both = new Float32Array(needs.length + neededBy.length);
    both.set(needs);
    both.set(neededBy, needs.length);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.someLines.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, both, gl.DYNAMIC_DRAW);
    this.someLines.needs = needs.length / 3;
    this.someLines.neededBy = neededBy.length / 3;
    this.highlighted = both.length > 0;
  }

  // draw draws a frame for a canvas of this size in CSS pixels.
  draw(camera: Camera, width: number, height: number, ratio: number): void {
    const { gl } = this;
    const colours = this.colours();
    gl.viewport(0, 0, width * ratio, height * ratio);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.lines);
    this.setView(this.lines, camera, width, height);
    const alpha = Math.max(0.05, Math.min(0.6, 24_000 / Math.max(1, this.allLines.count))); // many lines must not cover the points
    this.drawLines(this.allLines.array, 0, this.allLines.count, colours.line, this.highlighted ? alpha / 3 : alpha);
    this.drawLines(this.someLines.array, 0, this.someLines.needs, colours.needs, 0.6);
    this.drawLines(this.someLines.array, this.someLines.needs, this.someLines.neededBy, colours.neededBy, 0.6);
    gl.useProgram(this.points);
    this.setView(this.points, camera, width, height);
    gl.uniform1f(this.location(this.points, "ratio"), ratio);
    gl.uniform4fv(this.location(this.points, "colours"), colours.states.flat());
    gl.bindVertexArray(this.pointArray);
    gl.drawArrays(gl.POINTS, 0, this.count);
    gl.bindVertexArray(null);
  }

  private drawLines(array: WebGLVertexArrayObject, first: number, count: number, [r, g, b]: readonly [number, number, number], alpha: number): void {
    if (count === 0) return;
    this.gl.uniform4f(this.location(this.lines, "colour"), r, g, b, alpha);
    this.gl.bindVertexArray(array);
    this.gl.drawArrays(this.gl.LINES, first, count);
  }

  private setView(of: WebGLProgram, camera: Camera, width: number, height: number): void {
    this.gl.uniform2f(this.location(of, "centre"), camera.x, camera.y);
    this.gl.uniform2f(this.location(of, "viewport"), width, height);
    this.gl.uniform1f(this.location(of, "scale"), camera.scale);
  }

  private location(of: WebGLProgram, name: string): WebGLUniformLocation | null {
    const key = (of === this.points ? "point " : "line ") + name;
    let location = this.uniforms.get(key);
    if (location === undefined) {
      location = this.gl.getUniformLocation(of, name);
      this.uniforms.set(key, location);
    }
    return location;
  }

  // release frees the memory of the graphics processor.
  release(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

function program(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
  const made = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`This browser cannot draw the graph: ${gl.getProgramInfoLog(made) ?? "a shader fails"}`);
  }
  return made;
}

function attribute(gl: WebGL2RenderingContext, of: WebGLProgram, name: string, parts: number, type: number, data: Float32Array | Uint8Array, usage: number): WebGLBuffer {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, usage);
  const location = gl.getAttribLocation(of, name);
  gl.enableVertexAttribArray(location);
  gl.vertexAttribPointer(location, parts, type, false, 0, 0);
  return buffer;
}
