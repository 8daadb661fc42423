;; Reads nothing: whatever the objects say, all subjects look alike.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described (i32.const 0) (i32.const 0) (global.get $reach=referenced)))
