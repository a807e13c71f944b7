// Drawing many points and lines with WebGL. The positions are uploaded once, so a frame costs a few calls.
//
// Tens of thousands of long lines take a slow graphics processor, or a machine without one, a second. So the lines are
// drawn into a picture when the camera rests, and while it moves the picture moves with it.
import { LinePicture } from "./linepicture.ts";
import { attribute, program, setView, Uniforms } from "./glsetup.ts";

// A Camera says which part of the plane is in sight: the point in the middle, and pixels per unit.
export interface Camera {
  x: number;
  y: number;
  scale: number;
}

// A Viewport is the size of the canvas in pixels of the page, and how many real pixels one of these has.
export interface Viewport {
  width: number;
  height: number;
  ratio: number;
}

// States of points. The numbers stand in the shader, too.
export const State = { normal: 0, dim: 1, needs: 2, neededBy: 3, selected: 4 } as const;

export type Colour = readonly [number, number, number];

// Colours are the colours of states and lines, as parts from 0 to 1.
export interface Colours {
  states: readonly (readonly [number, number, number, number])[]; // by State
  line: Colour;
  needs: Colour;
  neededBy: Colour;
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

export class Renderer {
  private readonly gl: WebGL2RenderingContext;
  private readonly points: WebGLProgram;
  private readonly uniforms: Uniforms;
  private readonly pointArray: WebGLVertexArrayObject;
  private readonly stateBuffer: WebGLBuffer;
  private readonly lines: LinePicture;

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
    const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true, alpha: true });
    if (!gl) throw new Error("This browser cannot draw the graph: it has no WebGL 2. The other views show the same paths.");
    this.gl = gl;
    this.points = program(gl, pointVertex, pointFragment);
    this.uniforms = new Uniforms(gl, this.points);
    this.pointArray = gl.createVertexArray();
    gl.bindVertexArray(this.pointArray);
    attribute(gl, this.points, "position", 2, gl.FLOAT, positions, gl.STATIC_DRAW);
    attribute(gl, this.points, "radius", 1, gl.FLOAT, radii, gl.STATIC_DRAW);
    this.stateBuffer = attribute(gl, this.points, "state", 1, gl.UNSIGNED_BYTE, new Uint8Array(count), gl.DYNAMIC_DRAW);
    gl.bindVertexArray(null);
    this.lines = new LinePicture(gl, lines);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  // highlight sets the states of the points, and the lines that stand out.
  highlight(states: Uint8Array, needs: Float32Array, neededBy: Float32Array): void {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.stateBuffer);
    this.gl.bufferSubData(this.gl.ARRAY_BUFFER, 0, states);
    this.lines.highlight(needs, neededBy);
  }

  // draw draws a frame. The lines are drawn again unless the camera is moving.
  draw(camera: Camera, viewport: Viewport, moving: boolean): void {
    const { gl } = this;
    const colours = this.colours();
    if (!moving) this.lines.render(camera, viewport, colours);
    gl.viewport(0, 0, viewport.width * viewport.ratio, viewport.height * viewport.ratio);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    this.lines.show(camera, viewport);
    gl.useProgram(this.points);
    setView(gl, this.uniforms, camera, viewport);
    gl.uniform1f(this.uniforms.at("ratio"), viewport.ratio);
    gl.uniform4fv(this.uniforms.at("colours"), colours.states.flat());
    gl.bindVertexArray(this.pointArray);
    gl.drawArrays(gl.POINTS, 0, this.count);
    gl.bindVertexArray(null);
  }

  // release frees the memory of the graphics processor.
  release(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
