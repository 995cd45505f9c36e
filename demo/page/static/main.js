import "./input.js";
import "./picture.js";
import "./adaptation.js";
import "./reconstruction.js";
import "./video.js";
